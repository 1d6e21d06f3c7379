/** The worker's side of `cu-wasm/worker`: does with its instance what the page asks for. */

import type { AuditRecord } from './audit.js';
import type { Cu } from './cu.js';
import { pack, receiveError, sendError, unpack, type SentError } from './crossing.js';
import { UsageError } from './errors.js';
import type { HostFunction } from './host.js';
import type { Subscription } from './live.js';
import type { CuOptions } from './options.js';
import type { PageEnd, Request } from './port.js';

type Opens = Pick<typeof Cu, 'open' | 'restore'>;
type Calls = Record<string, (...args: unknown[]) => unknown>;

/** Answers the page's requests with an instance of this class. */
export function serve(port: PageEnd, Class: Opens): void {
  const server = new Server(port, Class);
  port.listen((request) => server.handle(request));
}

/** What aborted calls reject with here. The page knows the signal's own reason. */
const ABORTED = new Error('aborted');

class Server {
  private cu: Cu | null = null;
  private readonly aborters = new Map<number, AbortController>();
  private readonly subscriptions = new Map<number, Subscription>();
  private readonly waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: unknown) => void }>();
  private calls = 0;
  /** Records of the audit log that the page has. */
  private logged = 0;
  /** Which error of the page each of these was made for. */
  private readonly thrown = new WeakMap<object, number>();

  constructor(
    private readonly port: PageEnd,
    private readonly Class: Opens,
  ) {}

  handle(request: Request): void {
    switch (request.type) {
      case 'open':
        return this.perform(request.id, () => this.open(request));
      case 'call':
        return this.perform(request.id, () => this.call(request));
      case 'abort':
        return this.aborters.get(request.id)?.abort(ABORTED);
      case 'end':
        return this.subscriptions.get(request.id)?.end();
      case 'answer':
        return this.settle(request.id)?.resolve(unpack(request.value, this.hostFunction));
      case 'thrown':
        return this.settle(request.id)?.reject(this.errorOf(request.error, request.number));
    }
  }

  private perform(id: number, task: () => Promise<unknown>): void {
    const start = async (): Promise<void> => {
      try {
        const value = pack(await task(), () => -1);
        this.port.send({ type: 'result', id, value, ...this.state() });
      } catch (error) {
        const { running, logged } = this.state();
        this.port.send({ type: 'failure', id, error: this.send(error), isAborted: this.isAborted(id, error), running, logged });
      } finally {
        this.aborters.delete(id);
      }
    };
    void start();
  }

  private isAborted(id: number, error: unknown): boolean {
    // Where signals have no reasons, the error is one that is made in their place.
    const isNamed = error instanceof Error && error.name === 'AbortError';
    return error === ABORTED || (isNamed && this.aborters.get(id)?.signal.aborted === true);
  }

  /** As far as there is any: a closed or poisoned instance tells nothing. */
  private state(): { storage: Cu['storage']; running: boolean; logged: AuditRecord[] } {
    try {
      const { cu } = this;
      if (cu === null) return { storage: 'none', running: false, logged: [] };
      const logged = cu.auditLog.slice(this.logged);
      this.logged += logged.length;
      return { storage: cu.storage, running: cu.running, logged };
    } catch {
      return { storage: 'none', running: false, logged: [] };
    }
  }

  private async open(request: Request & { type: 'open' }): Promise<null> {
    const options = unpack(request.options, this.hostFunction) as CuOptions;
    if (request.hasSignal) options.signal = this.signal(request.id);
    const { image } = request;
    this.cu = image === null ? await this.Class.open(options) : await this.Class.restore(image, options);
    return null;
  }

  private async call(request: Request & { type: 'call' }): Promise<unknown> {
    const { id, method, signalAt, callbacks } = request;
    const args = unpack(request.args, this.hostFunction) as unknown[];
    if (signalAt !== null) (args[signalAt] as { signal?: AbortSignal }).signal = this.signal(id);
    for (const { argument, name, number } of callbacks) {
      const tell = (...values: unknown[]): void =>
        this.port.send({ type: 'callback', number, args: pack(values, () => -1) });
      if (name === null) args[argument] = tell;
      else (args[argument] as Record<string, unknown>)[name] = tell;
    }
    const { cu } = this;
    if (cu === null) throw new UsageError('NOT_INITIALIZED', 'call init() and wait for it first');
    const result = await (cu as unknown as Calls)[method]!(...args);
    if (method !== 'subscribe') return result;
    this.watch(id, result as Subscription);
    return null;
  }

  private signal(id: number): AbortSignal {
    const aborter = new AbortController();
    this.aborters.set(id, aborter);
    return aborter.signal;
  }

  private watch(id: number, subscription: Subscription): void {
    this.subscriptions.set(id, subscription);
    const end = (error: SentError | null): void => {
      this.subscriptions.delete(id);
      this.port.send({ type: 'ended', id, error });
    };
    subscription.ended.then(
      () => end(null),
      (error: unknown) => end(this.send(error)),
    );
  }

  /** A function of the page as one of this side, which gives a promise. */
  private readonly hostFunction =
    (number: number): HostFunction =>
    (...args: unknown[]) =>
      new Promise((resolve, reject) => {
        const id = this.calls++;
        this.waiting.set(id, { resolve, reject });
        this.port.send({ type: 'function', id, number, args: pack(args, () => -1) });
      });

  private settle(id: number): { resolve: (value: unknown) => void; reject: (error: unknown) => void } | undefined {
    const waiting = this.waiting.get(id);
    this.waiting.delete(id);
    return waiting;
  }

  private errorOf(sent: SentError, number: number): unknown {
    const error = receiveError(sent, () => null);
    if (typeof error === 'object' && error !== null) this.thrown.set(error, number);
    return error;
  }

  private send(error: unknown): SentError {
    return sendError(error, (known) => this.thrown.get(known));
  }
}
