/**
 * The instance behind the page: opened over what the browser keeps, or made from a saved state, one after the other. Parts of the page ask
 * for it at each use, since another one may have taken its place.
 */

import { Cu, StorageError, type CuOptions } from 'cu-wasm';

const OPTIONS: CuOptions = { name: 'cu-playground', heapLimit: 16 * 1024 * 1024 };
const LIBRARY = 'local names = {} for name in next, _G do names[name] = true end return names';

/** What there is of `_home`: kept over reloads, held by another tab, or part of a restored state. */
export type HomeState = 'kept' | 'elsewhere' | 'restored';

export class Session {
  private opened: Cu | null = null;
  /** The globals of a new state. */
  library: Readonly<Record<string, boolean>> = {};
  home: HomeState = 'kept';

  get cu(): Cu {
    if (this.opened === null) throw new Error('Lua is not open');
    return this.opened;
  }

  get isOpen(): boolean {
    return this.opened !== null;
  }

  /** Opens what the browser keeps. One tab at a time has `_home`; others do without. */
  async open(): Promise<void> {
    await this.close();
    try {
      this.opened = await Cu.open({ ...OPTIONS, home: true });
      this.home = 'kept';
    } catch (error) {
      if (!(error instanceof StorageError) || error.code !== 'blocked') throw error;
      this.opened = await Cu.open(OPTIONS);
      this.home = 'elsewhere';
    }
    this.library = { ...((await this.opened.eval(LIBRARY)) as Record<string, boolean>), _home: true, Memory: true };
  }

  /** Goes on where a saved state stood. The state that was there is gone then, but not when the image is none. */
  async restore(image: Uint8Array): Promise<void> {
    const restored = await Cu.restore(image, OPTIONS);
    await this.close();
    this.opened = restored;
    this.home = 'restored';
  }

  private async close(): Promise<void> {
    const { opened } = this;
    this.opened = null;
    await opened?.close();
  }
}
