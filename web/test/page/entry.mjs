// The entry of the package that the page is to test, named by its address. Its files are the built ones.
export const entry = new URLSearchParams(location.search).get('entry');
export const { Cu, EnhancedCuWASM, EnhancedLuaError, FunctionBlob, expose, LimitError, LuaError, LuaHandle, StorageError, UsageError, Values } = await import(
  `/web/dist/${entry}.js`
);
export const here = entry === 'worker' ? { skip: 'needs the VM in the same thread' } : {};
