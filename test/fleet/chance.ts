/** Draws that follow from one number, so that a run can be repeated (mulberry32). */
export function chanceOf(seed: number): {
  next(): number
  between(from: number, to: number): number
  of<T>(items: readonly T[]): T
} {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  return {
    next,
    between: (from, to) => from + next() * (to - from),
    of: (items) => items[Math.floor(next() * items.length)]!,
  }
}
