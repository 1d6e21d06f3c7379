/**
 * The script that runs in the worker of `cu-wasm/worker`. A worker of one's own may import it as `cu-wasm/worker-thread`, and be given to the
 * page's side as the option `worker`.
 */

import { Cu } from './index.js';
import { connectToPage } from './port.js';
import { serve } from './worker-serve.js';

void connectToPage().then((port) => serve(port, Cu));
