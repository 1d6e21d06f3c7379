/** Compression with the VM's own code, so that it is there in browsers without `CompressionStream` too. */

import { EnhancedLuaError, UsageError } from './errors.js';
import { utf8, type Vm } from './vm.js';

const DECOMPRESSED_MAX = 64 * 1024 * 1024;

export function compressData(vm: Vm, data: unknown): Uint8Array {
  const bytes = typeof data === 'string' ? utf8(data) : data;
  if (!(bytes instanceof Uint8Array)) throw new UsageError('INVALID_INPUT', 'data: text or bytes were expected');
  if (bytes.length > DECOMPRESSED_MAX) {
    throw new EnhancedLuaError('COMPRESSION_FAILED', `data: ${bytes.length} bytes are over the limit of ${DECOMPRESSED_MAX}`);
  }
  return vm.call((instance) => instance.compress(bytes));
}

export function decompressData(vm: Vm, bytes: unknown, limit = DECOMPRESSED_MAX): Uint8Array {
  if (!(bytes instanceof Uint8Array)) throw new UsageError('INVALID_INPUT', 'bytes: bytes were expected');
  if (!Number.isInteger(limit) || limit < 0 || limit >= 2 ** 32) {
    throw new UsageError('INVALID_INPUT', 'limit: a number of bytes below 4 GiB was expected');
  }
  const data = vm.call((instance) => instance.decompress(bytes, limit));
  if (data === undefined) throw new EnhancedLuaError('DECOMPRESSION_FAILED', `bytes: they are damaged, or hold more than ${limit} bytes`);
  return data;
}
