/** The two ends of a worker, in a browser and in Node, as one thing. */

import type { AuditRecord } from './audit.js';
import type { StorageKind } from './options.js';
import type { SentError } from './crossing.js';

/** What a page asks of its worker. `id` numbers calls. */
export type Request =
  | { type: 'open'; id: number; options: unknown; hasSignal: boolean; image: Uint8Array | null }
  /** `signalAt` is the argument that had a signal; `callbacks` are the functions right in arguments, by argument and name. */
  | { type: 'call'; id: number; method: string; args: unknown; signalAt: number | null; callbacks: readonly Callback[] }
  | { type: 'abort'; id: number }
  /** Ends the subscription that the call began. */
  | { type: 'end'; id: number }
  /** What a function of the page gave; `id` is the worker's number of the call. */
  | { type: 'answer'; id: number; value: unknown }
  | { type: 'thrown'; id: number; error: SentError; number: number };

/** What the worker says. `logged` is what has come to the audit log since. */
export type Reply =
  | { type: 'result'; id: number; value: unknown; storage: StorageKind; running: boolean; logged: AuditRecord[] }
  | { type: 'failure'; id: number; error: SentError; isAborted: boolean; running: boolean; logged: AuditRecord[] }
  | { type: 'function'; id: number; number: number; args: unknown }
  | { type: 'callback'; number: number; args: unknown }
  /** A subscription has ended. */
  | { type: 'ended'; id: number; error: SentError | null };

export interface Callback {
  argument: number;
  /** The property of the argument; null when the argument itself is the function. */
  name: string | null;
  number: number;
}

/** The page's end. */
export interface WorkerEnd {
  send(request: Request): void;
  /** While it waits for an answer, a worker keeps Node from ending. */
  hold(isWaiting: boolean): void;
  terminate(): void;
}

interface NodeWorker {
  postMessage(message: unknown): void;
  on(event: string, listener: (value: unknown) => void): void;
  ref(): void;
  unref(): void;
  terminate(): Promise<number>;
}

/**
 * Connects with a worker, or starts one first.
 *
 * @param start a worker, or makes one; by default the script beside this file
 * @param onLost is called when the worker has come to an end by itself, or never began
 */
export async function startWorker(
  start: Worker | string | URL | undefined,
  onReply: (reply: Reply) => void,
  onLost: (reason: string) => void,
): Promise<WorkerEnd> {
  if (typeof Worker === 'undefined' && isNode()) {
    // Behind a variable: no bundler is to copy the file for this.
    const beside = './worker-thread.js';
    const script = start instanceof URL || typeof start === 'string' ? start : new URL(/* @vite-ignore */ beside, import.meta.url);
    return startInNode(script, onReply, onLost);
  }
  let worker: Worker;
  // Bundlers know a worker by this form.
  if (start === undefined) worker = new Worker(new URL('./worker-thread.js', import.meta.url), { type: 'module' });
  else worker = start instanceof Worker ? start : new Worker(start, { type: 'module' });
  worker.addEventListener('message', (event: MessageEvent<Reply>) => onReply(event.data));
  worker.addEventListener('error', (event) => onLost(event.message || 'its script cannot be loaded'));
  worker.addEventListener('messageerror', () => onLost('a message cannot be read'));
  return {
    send: (request) => worker.postMessage(request),
    hold: () => undefined,
    terminate: () => worker.terminate(),
  };
}

async function startInNode(script: string | URL, onReply: (reply: Reply) => void, onLost: (reason: string) => void): Promise<WorkerEnd> {
  const threads = await nodeThreads();
  const worker: NodeWorker = new threads.Worker(script);
  worker.on('message', (reply) => onReply(reply as Reply));
  worker.on('error', (error) => onLost(error instanceof Error ? error.message : String(error)));
  worker.on('exit', () => onLost('it has ended'));
  return {
    send: (request) => worker.postMessage(request),
    hold: (isWaiting) => (isWaiting ? worker.ref() : worker.unref()),
    terminate: () => void worker.terminate(),
  };
}

/** The worker's end. */
export interface PageEnd {
  send(reply: Reply): void;
  listen(onRequest: (request: Request) => void): void;
}

/** Connects with the page that has started this worker. */
export async function connectToPage(): Promise<PageEnd> {
  if (isNode()) {
    const { parentPort } = await nodeThreads();
    if (parentPort === null) throw new Error('this script runs in a worker only');
    return {
      send: (reply) => parentPort.postMessage(reply),
      listen: (onRequest) => void parentPort.on('message', onRequest),
    };
  }
  // Messages wait until there is a listener, or are heard from now on.
  const scope = globalThis as unknown as Worker;
  const early: Request[] = [];
  let hear = (request: Request): void => void early.push(request);
  scope.addEventListener('message', (event: MessageEvent<Request>) => hear(event.data));
  return {
    send: (reply) => scope.postMessage(reply),
    listen: (onRequest) => {
      hear = onRequest;
      for (const request of early.splice(0)) onRequest(request);
    },
  };
}

function isNode(): boolean {
  return typeof process === 'object' && typeof process.versions?.node === 'string';
}

function nodeThreads(): Promise<typeof import('node:worker_threads')> {
  // Behind a variable, so that bundlers for browsers leave it alone.
  const specifier = 'node:worker_threads';
  return import(/* @vite-ignore */ /* webpackIgnore: true */ specifier) as Promise<typeof import('node:worker_threads')>;
}
