/**
 * Calls whose arguments and values go through a buffer in wasm memory: one crossing, and nothing is allocated for it but the
 * values. What does not fit there goes as bytes of its own.
 */

import { decode, encode, encodeInto, type LuaValue } from './codec.js';
import { Exchanged, type Instance } from './engine.js';

export class Exchange {
  private readonly instance: Instance;
  private memory: WebAssembly.Memory | null = null;
  private buffer = new Uint8Array();
  /** Whether a request is being written: a getter of an argument may call something too. */
  private writing = false;

  constructor(instance: Instance) {
    this.instance = instance;
  }

  /**
   * The values of a call; null when it goes on or has failed.
   *
   * @param request the name of a global function, and the arguments
   */
  call(request: readonly unknown[], fuel: number): LuaValue[] | null {
    const { instance } = this;
    const written = this.write(request);
    if (typeof written !== 'number') {
      const values = instance.call(written, fuel);
      return values === undefined ? null : (decode(values) as LuaValue[]);
    }
    const answer = instance.callExchanged(written, fuel);
    if (answer >= 0) return decode(this.place(), answer) as LuaValue[];
    return answer === Exchanged.Nothing ? null : (decode(instance.takeExchanged()) as LuaValue[]);
  }

  /** The length of the request in the buffer, or the request. */
  private write(request: readonly unknown[]): number | Uint8Array {
    if (this.writing) return encode(request);
    this.writing = true;
    try {
      const place = this.place();
      const written = encodeInto(place, request);
      // Where such a call let memory grow, the rest was written to nowhere.
      return place.buffer === this.memory?.buffer ? written : encode(request);
    } finally {
      this.writing = false;
    }
  }

  /** The buffer as it lies in memory now: when memory grows, what was there before is detached. */
  private place(): Uint8Array {
    this.memory ??= this.instance.memory();
    if (this.buffer.buffer !== this.memory.buffer) {
      const [address, length] = this.instance.exchangePlace();
      this.buffer = new Uint8Array(this.memory.buffer, address, length);
    }
    return this.buffer;
  }
}
