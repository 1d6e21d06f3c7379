/** The package `cu-wasm/node`: {@link Cu} with databases in files. */

import { UsageError } from './errors.js';
import { Cu as Bare } from './index.js';
import { openFile } from './node-store.js';
import type { CuOptions } from './options.js';

export interface NodeOptions extends CuOptions {
  /**
   * The file that the database is in; it is made when it is not there. One instance at a time can have it; others are refused with code
   * `blocked`. Without it the database is in memory.
   */
  file?: string;
}

/** One Lua state with one database. */
export class Cu extends Bare {
  private beginning: Promise<unknown> | null = null;

  static override open(options: NodeOptions = {}): Promise<Cu> {
    return new this().init(options);
  }

  static override init(options: NodeOptions = {}): Promise<Cu> {
    return this.open(options);
  }

  static override async restore(image: Uint8Array | ArrayBuffer, options: NodeOptions = {}): Promise<Cu> {
    return (await super.restore(image, options)) as Cu;
  }

  override async init({ file, ...options }: NodeOptions = {}): Promise<this> {
    if (file === undefined || this.beginning !== null) return super.init(options);
    if (typeof file !== 'string' || file === '' || file.includes('\0')) throw new UsageError('INVALID_INPUT', 'file: the path of a file was expected');
    const begin = async (): Promise<this> => {
      const store = await openFile(file);
      try {
        return await super.init({ ...options, store });
      } catch (error) {
        await store.close();
        throw error;
      }
    };
    const beginning = begin();
    this.beginning = beginning;
    try {
      return await beginning;
    } catch (error) {
      this.beginning = null;
      throw error;
    }
  }
}

export { Cu as EnhancedCuWASM, openFile };
export * from './parts.js';
