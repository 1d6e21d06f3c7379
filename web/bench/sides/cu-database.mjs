// This package with its database, for the figures of starting.
import { Cu } from '../../dist/index.js';

export async function open() {
  const cu = await Cu.open({ name: 'bench' });
  return { first: () => cu.eval('return 6 * 7') };
}
