/** Definitions of indexes and schemas as callers write them, checked and encoded for the database. */

import { encode } from './codec.js';
import { UsageError } from './errors.js';
import { checkField } from './query.js';

/** `btree` serves equality, ranges, prefixes and sorting; `hash` equality only, with small entries. */
export type IndexKind = 'btree' | 'hash';

export interface IndexOptions {
  kind?: IndexKind;
  /** Default: the fields, joined by commas. */
  name?: string;
  /** Refuses a second document with the same fields. */
  unique?: boolean;
  /** Has an entry for each element of an array, for `contains`. */
  multi?: boolean;
  /** Leaves documents out that have none of the fields. */
  sparse?: boolean;
}

/** What one field of a document must be. */
export interface FieldRule {
  type?: 'string' | 'number' | 'integer' | 'boolean' | 'object' | 'array' | 'null';
  required?: boolean;
  /** Of a number its least value, of a string or an array its least length. */
  min?: number;
  max?: number;
  /** A regular expression that a string has to match somewhere. */
  pattern?: string;
}

/** Rules by field, or a JSON Schema: the subset of 2020-12 that the storage crate documents. */
export type Schema = { readonly [field: string]: FieldRule } | { readonly [keyword: string]: unknown };

export function encodeIndex(field: string | readonly string[], options: IndexOptions): Uint8Array {
  const fields: readonly string[] = typeof field === 'string' ? [field] : field;
  if (!Array.isArray(fields)) throw new UsageError('INVALID_QUERY_FIELD', 'an index has a field or an array of fields');
  fields.forEach(checkField);
  const { kind = 'btree', name, unique = false, multi = false, sparse = false } = options;
  if (kind !== 'btree' && kind !== 'hash') {
    throw new UsageError('CREATE_INDEX_FAILED', `there is no index of kind '${String(kind)}'; there are btree and hash`);
  }
  return encode({ name, fields, kind, unique, multi, sparse });
}

export function encodeSchema(schema: Schema | null): Uint8Array {
  if (schema === null) return encode(null);
  if (typeof schema !== 'object') throw new UsageError('INVALID_INPUT', 'a schema is an object');
  const type: unknown = schema['type'];
  const isJsonSchema = typeof type === 'string' || Array.isArray(type) || '$schema' in schema;
  return encode(isJsonSchema ? schema : objectSchema(schema as { readonly [field: string]: FieldRule }));
}

function objectSchema(fields: { readonly [field: string]: FieldRule }): object {
  const entries = Object.entries(fields);
  const required = entries.filter(([, rule]) => rule.required === true).map(([name]) => name);
  const properties = Object.fromEntries(entries.map(([name, rule]) => [name, fieldSchema(name, rule)]));
  return { type: 'object', properties, required };
}

function fieldSchema(name: string, rule: FieldRule): object {
  const { type, required, min, max, pattern, ...unknown } = rule;
  const [extra] = Object.keys(unknown);
  if (extra !== undefined) throw new UsageError('INVALID_INPUT', `the rule for '${name}' has an unknown part '${extra}'`);
  void required;
  const [least, most] =
    type === 'string' ? ['minLength', 'maxLength'] : type === 'array' ? ['minItems', 'maxItems'] : ['minimum', 'maximum'];
  // `undefined` leaves a keyword out.
  return { type, [least]: min, [most]: max, pattern };
}
