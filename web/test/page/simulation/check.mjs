// How a simulation tells that something is not as it has to be.

/** A form in which equal values have equal texts, whatever the order of their fields. */
function text(value) {
  return JSON.stringify(value, (_, part) => {
    if (typeof part === 'bigint') return `${part}n`;
    if (part instanceof Error) return `${part.name}: ${part.message}`;
    if (typeof part !== 'object' || part === null || Array.isArray(part)) return part;
    return Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}

export function check(found, expected, about = () => '') {
  if (text(found) !== text(expected)) throw new Error(`found ${text(found)}, expected ${text(expected)} ${about()}`);
}

/** Which errors were expected and came, by code. */
export const expectedErrors = {};

/** Has to be rejected with one of these codes, or names for errors that have none. */
export async function fails(promise, codes) {
  const error = await promise.then(() => null, (reason) => reason);
  if (error === null) throw new Error(`expected an error of code ${codes}, but there was none`);
  const code = typeof error.code === 'string' ? error.code : error.name;
  if (!codes.includes(code)) throw error;
  expectedErrors[code] = (expectedErrors[code] ?? 0) + 1;
  return error;
}
