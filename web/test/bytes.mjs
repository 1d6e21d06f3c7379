// Bytes as text, for messages of tests that run in Node and in pages.

export const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
export const fromHex = (text) => Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));

/** Each byte as a character, so that a difference is shown by bytes and unequal bytes are never equal text. */
export function latin1(parts) {
  let text = '';
  for (const part of parts) for (const byte of part) text += String.fromCharCode(byte);
  return text;
}

/** Text as bytes, or bytes, through one of the platform's own streams. */
async function through(stream, data) {
  const body = new Response(data).body.pipeThrough(stream);
  return new Uint8Array(await new Response(body).arrayBuffer());
}

export const deflate = (data) => through(new CompressionStream('deflate-raw'), data);
export const inflate = (bytes) => through(new DecompressionStream('deflate-raw'), bytes);
export const textOf = (bytes) => new TextDecoder().decode(bytes);
