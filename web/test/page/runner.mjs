// What the tests use of `node:test`, for pages: tests run one after the other when all modules are there.

const tests = [];
let group = '';

export function test(name, ...rest) {
  const body = rest.pop();
  const [options = {}] = rest;
  tests.push({ name: group + name, body, skip: options.skip });
}

export function describe(name, body) {
  const outer = group;
  group = `${outer}${name} > `;
  body();
  group = outer;
}

/** Runs what was registered. */
export async function run(onResult) {
  const results = [];
  for (const { name, body, skip } of tests) {
    let error = null;
    if (skip === undefined) {
      try {
        await body();
      } catch (thrown) {
        error = `${thrown?.stack ?? ''}\n${thrown}`;
      }
    }
    results.push({ name, skip: skip ?? null, error });
    onResult(results.length, tests.length);
  }
  return results;
}
