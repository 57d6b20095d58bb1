/** Choices that follow from one number, so that a run can be repeated from it alone. */
export class Source {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** Below 1; mulberry32, whose neighbours in seed are no neighbours in what follows. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }

  /** From 0 to `below` − 1. */
  int(below: number): number {
    return Math.floor(this.next() * below)
  }

  chance(share: number): boolean {
    return this.next() < share
  }

  pick<T>(items: readonly T[]): T {
    return items[this.int(items.length)]!
  }

  times<T>(most: number, make: () => T): T[] {
    return Array.from({ length: this.int(most + 1) }, make)
  }
}
