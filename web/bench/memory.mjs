// Keeps account of the memories of all wasm instances, whoever makes them. Creating an instance is watched, nothing that runs in it.

const memories = new Set();

/** Bytes of all wasm memories that are alive in this page or process. */
export function wasmBytes() {
  let bytes = 0;
  for (const memory of memories) bytes += memory.buffer.byteLength;
  return bytes;
}

function note(instance, imports) {
  const exported = Object.values(instance.exports);
  const imported = Object.values(imports ?? {}).flatMap((module) => Object.values(module));
  for (const value of [...exported, ...imported]) if (value instanceof WebAssembly.Memory) memories.add(value);
}

const { instantiate, instantiateStreaming } = WebAssembly;

WebAssembly.instantiate = async (source, imports) => {
  const made = await instantiate(source, imports);
  note(made.instance ?? made, imports);
  return made;
};

if (instantiateStreaming !== undefined) {
  WebAssembly.instantiateStreaming = async (source, imports) => {
    const made = await instantiateStreaming(source, imports);
    note(made.instance, imports);
    return made;
  };
}

WebAssembly.Instance = class extends WebAssembly.Instance {
  constructor(module, imports) {
    super(module, imports);
    note(this, imports);
  }
};
