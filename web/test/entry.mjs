// The entry of the package that a test file is run with: `index`, or the one that CU_ENTRY names.
export const entry = process.env.CU_ENTRY ?? 'index';
export const { Cu, EnhancedCuWASM, EnhancedLuaError, FunctionBlob, expose, LimitError, LuaError, LuaHandle, StorageError, UsageError, Values } = await import(
  `../dist/${entry}.js`
);

/** Options of a test that needs the VM in the same thread: for `callSync`, or for parts behind the API. */
export const here = entry === 'worker' ? { skip: 'needs the VM in the same thread' } : {};
