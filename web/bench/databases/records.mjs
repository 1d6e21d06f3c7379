// The records that all databases of `cargo xtask bench storage` hold, about 270 bytes each as JSON, and the numbers the rows draw: the same
// for every database, because they follow from their position alone.

const WORDS = 'amber basil cedar delta ember fjord grove heath inlet juniper kelp larch maple north ocean pine quartz river stone tide'.split(' ');
const CITIES = 50;
/** Prime, so that multiplying by it permutes the numbers below a power of ten. */
const STEP = 7919;

export const FIELDS = ['id', 'name', 'email', 'city', 'cohort', 'score', 'version', 'text'];
/** Records that share a `cohort`. */
export const COHORT_RECORDS = 10;

export function record(id, size, version = 0) {
  const place = (id * STEP + 13) % size;
  const words = Array.from({ length: 20 }, (_, index) => WORDS[(id * 31 + index * (7 + (id % 5))) % WORDS.length]);
  return {
    id,
    name: `${WORDS[id % 20]} ${WORDS[(id * 7) % 20]}`,
    email: `person${id}@example.org`,
    city: `city ${id % CITIES}`,
    cohort: place % (size / COHORT_RECORDS),
    score: (place * 37) % size,
    version,
    text: `${words.join(' ')} mark${id % 1000}x`,
  };
}

export function records(size) {
  return Array.from({ length: size }, (_, id) => record(id, size));
}

/** The n-th number below `limit` of a fixed sequence. */
export function draw(number, limit) {
  return (number * 48271 + 12345) % 2147483647 % limit;
}

/** Different ids, spread over all. */
export function drawIds(count, round, size) {
  const start = draw(round + 1, size);
  return Array.from({ length: count }, (_, index) => (start + index * STEP) % size);
}

/** A number that differs when records or their order do. */
export function checksum(rows, state = 2166136261) {
  const text = JSON.stringify(rows.map((row) => FIELDS.map((field) => row[field])));
  for (let index = 0; index < text.length; index += 1) state = Math.imul(state ^ text.charCodeAt(index), 16777619) >>> 0;
  return state;
}
