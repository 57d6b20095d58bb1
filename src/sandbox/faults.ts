/**
 * Fault switches shared by the AWS and GitHub sandboxes. A switch is armed for one operation name
 * (`CreateAccessKey`, `POST /repos/{owner}/{repo}/keys`, or `*`) and fires a limited number of times.
 */
export type Fault =
  /** The effect happens, the answer never arrives: the connection is cut. */
  | { readonly kind: 'lostResponse' }
  /** The connection is cut before any effect. */
  | { readonly kind: 'reset' }
  | { readonly kind: 'throttle'; readonly retryAfterSeconds: number }
  /** A 5xx, with or without the effect having happened. */
  | { readonly kind: 'serverError'; readonly effect: boolean }
  /** The effect happens; a proxy puts a page of its own under the status of success. */
  | { readonly kind: 'garbage' }
  | { readonly kind: 'delay'; readonly milliseconds: number }
  /** The effect happens; the answer waits until `release` is called: a place to kill a process. */
  | { readonly kind: 'hold' }

interface Armed {
  readonly operation: string
  readonly fault: Fault
  remaining: number
}

export class Faults {
  #armed: Armed[] = []
  #held: (() => void)[] = []
  #waiters: { readonly count: number; readonly wake: () => void }[] = []

  arm(operation: string, fault: Fault, times = 1): void {
    this.#armed.push({ operation, fault, remaining: times })
  }

  /** Takes the first armed fault for the operation, or null. */
  take(operation: string): Fault | null {
    const index = this.#armed.findIndex((a) => a.operation === operation || a.operation === '*')
    const found = this.#armed[index]
    if (!found) return null
    if (--found.remaining === 0) this.#armed.splice(index, 1)
    return found.fault
  }

  /** Called by a sandbox's HTTP face for `hold`: resolves on `release`. */
  hold(): Promise<void> {
    const held = new Promise<void>((resolve) => this.#held.push(resolve))
    this.#waiters = this.#waiters.filter((w) => {
      if (this.#held.length < w.count) return true
      w.wake()
      return false
    })
    return held
  }

  /** Resolves when at least `count` answers are being held. */
  whenHolding(count = 1): Promise<void> {
    if (this.#held.length >= count) return Promise.resolve()
    return new Promise((wake) => this.#waiters.push({ count, wake }))
  }

  /** Lets every held answer go and disarms everything. */
  release(): void {
    this.#armed = []
    for (const resolve of this.#held.splice(0)) resolve()
  }
}
