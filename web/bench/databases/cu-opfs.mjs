// This package over the origin's private file system, where the SQLites are too.
import { openWith } from './cu.mjs';

export const open = (name) => openWith({ name, storage: 'opfs' });
