// The tests of the API once more, with the VM in a worker.
process.env.CU_ENTRY = 'worker';
const { entry } = await import('./entry.mjs');
if (entry !== 'worker') throw new Error('these tests would run without a worker');
for (const suite of ['api', 'enhanced', 'error-codes', 'external', 'handles', 'host', 'image', 'live', 'migration', 'operators', 'plain', 'reach', 'sandbox', 'permissions', 'audit']) await import(`./${suite}.test.mjs`);
