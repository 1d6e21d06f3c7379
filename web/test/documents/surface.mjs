// What the package offers, as its type declarations say: the exports of each entry, the public members of classes, the fields of interfaces,
// the texts that a type allows.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const { exports } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));

/** The entries that have types, by the name they are imported by. */
export const ENTRIES = Object.entries(exports).flatMap(([name, { types }]) => (types === undefined ? [] : [{ name: name.replace('.', 'cu-wasm'), types }]));

const files = ENTRIES.map(({ types }) => fileURLToPath(new URL(`../../${types.slice(2)}`, import.meta.url)));
const program = ts.createProgram(files, {
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  lib: ['lib.es2022.d.ts', 'lib.esnext.disposable.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'],
  types: [],
  strict: true,
});
const checker = program.getTypeChecker();
const isHidden = (symbol) =>
  symbol.declarations?.some((declaration) => (ts.getCombinedModifierFlags(declaration) & (ts.ModifierFlags.Private | ts.ModifierFlags.Protected)) !== 0) ?? false;
const isInternal = (symbol) => symbol.getJsDocTags(checker).some(({ name }) => name === 'internal');
const isOurs = (symbol) => symbol.declarations?.some((declaration) => declaration.getSourceFile().fileName.includes('/dist/')) ?? false;
const names = (symbols) => symbols.filter((symbol) => isOurs(symbol) && !isHidden(symbol) && !isInternal(symbol)).map(({ name }) => name);

/**
 * The exports of an entry by name, each with its kind: `class` with `members` and `statics`, `value`, `fields` of an interface, `texts` of a
 * union of string literals, or another `type`.
 */
export function surfaceOf(entry) {
  const { types } = ENTRIES.find(({ name }) => name === entry);
  const source = program.getSourceFile(fileURLToPath(new URL(`../../${types.slice(2)}`, import.meta.url)));
  const module = checker.getSymbolAtLocation(source);
  const found = new Map();
  for (const exported of module === undefined ? [] : checker.getExportsOfModule(module)) {
    const symbol = (exported.flags & ts.SymbolFlags.Alias) !== 0 ? checker.getAliasedSymbol(exported) : exported;
    found.set(exported.name, { ...described(symbol), original: symbol.name });
  }
  return found;
}

function described(symbol) {
  if ((symbol.flags & ts.SymbolFlags.Class) !== 0) {
    const statics = checker.getTypeOfSymbol(symbol).getProperties().filter(({ name }) => name !== 'prototype');
    return { kind: 'class', members: names(checker.getDeclaredTypeOfSymbol(symbol).getProperties()), statics: names(statics) };
  }
  if ((symbol.flags & ts.SymbolFlags.Value) !== 0) return { kind: 'value' };
  const type = checker.getDeclaredTypeOfSymbol(symbol);
  if ((symbol.flags & ts.SymbolFlags.Interface) !== 0) return { kind: 'fields', fields: names(type.getProperties()) };
  const parts = type.isUnion() ? type.types : [type];
  if (parts.every((part) => part.isStringLiteral())) return { kind: 'texts', texts: parts.map(({ value }) => value) };
  const fields = new Set(parts.flatMap((part) => names(part.getProperties())));
  return { kind: 'type', fields: [...fields] };
}

/** The members of a class that its declaration keeps to itself. */
export function hiddenMembers(entry, className) {
  const { types } = ENTRIES.find(({ name }) => name === entry);
  const source = program.getSourceFile(fileURLToPath(new URL(`../../${types.slice(2)}`, import.meta.url)));
  const exported = checker.getExportsOfModule(checker.getSymbolAtLocation(source)).find(({ name }) => name === className);
  const symbol = (exported.flags & ts.SymbolFlags.Alias) !== 0 ? checker.getAliasedSymbol(exported) : exported;
  return checker.getDeclaredTypeOfSymbol(symbol).getProperties().filter(isHidden).map(({ name }) => name);
}
