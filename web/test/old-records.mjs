// Records as the older system wrote them to IndexedDB. Also loaded by pages.

const stored = (...bytes) => ({ _type: 'binary', data: bytes });
const counted = (tag, contents) => ({ _type: 'binary', data: [tag].concat([...u32(contents.length)], Array.from(contents)) });
const payload = (size, set) => {
  const view = new DataView(new ArrayBuffer(size));
  set(view);
  return new Uint8Array(view.buffer);
};
const u32 = (value) => payload(4, (view) => view.setUint32(0, value, true));

export const nil = () => stored(0);
export const boolean = (value) => stored(1, Number(value));
export const integer = (value) => stored(2, ...payload(8, (view) => view.setBigInt64(0, BigInt(value), true)));
export const float = (value) => stored(3, ...payload(8, (view) => view.setFloat64(0, value, true)));
export const bytes = (...values) => counted(4, values);
export const string = (text) => counted(4, new TextEncoder().encode(text));
export const bytecode = (...code) => counted(5, code);
export const nativeFunction = (index) => stored(6, index & 255, index >> 8);
export const reference = (id) => stored(7, ...u32(id));

export const record = (id, data) => ({ id, data });
export const metadata = (data) => ({ id: '__metadata__', data });

/** A state with everything in it. */
export function oldRecords() {
  const home = {
    none: nil(),
    no: boolean(false),
    yes: boolean(true),
    count: integer(42),
    least: integer(-(2n ** 63n)),
    whole: float(3),
    half: float(0.5),
    name: string('hé'),
    empty: string(''),
    bytes: bytes(255, 0),
    list: reference(4),
    same: reference(4),
    7: string('seven'),
    '-1': string('minus one'),
    1.5: string('text'),
    '007': string('agent'),
    greet: bytecode(0x1b, 0x4c, 0x75, 0x61, 0x54),
    print: nativeFunction(300),
    cut: stored(2, 1, 2),
    strange: stored(9),
    object: { some: 'thing' },
    lost: reference(99),
    // A string instead of bytes, as the first versions wrote.
    old: `\x04\x05\x00\x00\x00plain`,
  };
  return [
    record(1, home),
    record(2, { input: integer(1) }),
    record(4, { 1: string('first'), 2: integer(2), 3: reference(5) }),
    record(5, { up: reference(1), deep: bytecode(0x1b) }),
    metadata({ homeTableId: 1, memoryTableId: 1, nextTableId: 6, savedAt: '2025-01-01T00:00:00.000Z', stateRestored: false, tableCount: 4, tableIds: [1, 2, 4, 5] }),
  ];
}
