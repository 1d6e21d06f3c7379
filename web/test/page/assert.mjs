// What the tests use of Node's `assert/strict`, for pages. `test/page.test.mjs` holds it against Node's own.

export class AssertionError extends Error {
  name = 'AssertionError';
}

const show = (value) => {
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'function' || typeof value === 'symbol' || value === undefined) return String(value);
  if (value instanceof Error) return `${value.name} ${value.code ?? ''} ${value.message}`;
  if (value instanceof Map) return `Map ${show([...value])}`;
  const text = JSON.stringify(value, (_, inner) => (typeof inner === 'bigint' ? `${inner}n` : inner));
  return text.length > 500 ? `${text.slice(0, 500)}…` : text;
};

function fail(message, otherwise) {
  if (message instanceof Error) throw message;
  throw new AssertionError(message ?? otherwise);
}

function ok(value, message) {
  if (!value) fail(message, `${show(value)} is not true`);
}

/** Equality of values in depth, with prototypes, as `deepStrictEqual` has it. */
export function isEqual(left, right, seen = new Map()) {
  if (Object.is(left, right)) return true;
  if (typeof left !== 'object' || typeof right !== 'object' || left === null || right === null) return false;
  if (Object.getPrototypeOf(left) !== Object.getPrototypeOf(right)) return false;
  if (seen.get(left) === right) return true;
  seen.set(left, right);
  if (left instanceof Map) {
    // Keys in these tests are scalars.
    return left.size === right.size && [...left].every(([key, value]) => right.has(key) && isEqual(value, right.get(key), seen));
  }
  if (left instanceof Set) return left.size === right.size && [...left].every((value) => right.has(value));
  if (left instanceof Date) return left.getTime() === right.getTime();
  if (left instanceof Error && (left.message !== right.message || left.name !== right.name)) return false;
  if (Array.isArray(left) && left.length !== right.length) return false;
  const keys = Object.keys(left);
  return (
    keys.length === Object.keys(right).length &&
    keys.every((key) => Object.prototype.hasOwnProperty.call(right, key) && isEqual(left[key], right[key], seen))
  );
}

/** Whether an error is as expected: a class, a test, a pattern of its text, or properties it must have. */
function matches(error, expected) {
  if (expected === undefined) return true;
  if (expected instanceof RegExp) return expected.test(String(error));
  if (typeof expected === 'function') {
    if (expected.prototype !== undefined && error instanceof expected) return true;
    return expected.prototype === undefined && expected(error) === true;
  }
  return Object.entries(expected).every(([key, value]) => (value instanceof RegExp ? value.test(error[key]) : isEqual(error[key], value)));
}

function check(error, expected, message) {
  if (!matches(error, expected)) fail(message, `another error than expected: ${show(error)}`);
}

export default Object.assign(ok, {
  ok,
  equal: (actual, expected, message) => Object.is(actual, expected) || fail(message, `${show(actual)} is not ${show(expected)}`),
  notEqual: (actual, expected, message) => !Object.is(actual, expected) || fail(message, `it is ${show(expected)}`),
  deepEqual: (actual, expected, message) => isEqual(actual, expected) || fail(message, `${show(actual)} is not ${show(expected)}`),
  notDeepEqual: (actual, expected, message) => !isEqual(actual, expected) || fail(message, `it is ${show(expected)}`),
  match: (text, pattern, message) => pattern.test(text) || fail(message, `${show(text)} does not match ${pattern}`),
  throws(call, expected, message) {
    try {
      call();
    } catch (error) {
      return check(error, expected, message);
    }
    return fail(message, 'nothing was thrown');
  },
  async rejects(promise, expected, message) {
    try {
      await (typeof promise === 'function' ? promise() : promise);
    } catch (error) {
      return check(error, expected, message);
    }
    return fail(message, 'it did not reject');
  },
});
