/** The opening of an instance: however often it is asked for, it happens once; one that has failed can begin anew. */

export class Opening {
  private begun: Promise<void> | null = null;

  /** Resolves when it is open. Called again, it waits for the first call. */
  async once(open: () => Promise<void>): Promise<void> {
    this.begun ??= open();
    try {
      await this.begun;
    } catch (error) {
      this.begun = null;
      throw error;
    }
  }

  /** Resolves when nothing is being opened any more, whatever came of it. */
  async over(): Promise<void> {
    await this.begun?.catch(() => undefined);
  }
}
