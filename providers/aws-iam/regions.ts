/** Regions that every account has without opting in, two for each part of the world. */
const pairs: readonly (readonly [begins: string, one: string, other: string])[] = [
  ['cn-', 'cn-north-1', 'cn-northwest-1'],
  ['us-gov-', 'us-gov-west-1', 'us-gov-east-1'],
  ['us-iso', '', ''],
  ['eusc-', '', ''],
  ['eu-', 'eu-central-1', 'eu-west-1'],
  ['ap-', 'ap-southeast-1', 'ap-northeast-1'],
  ['', 'us-east-1', 'us-west-2'],
]

/**
 * Where STS is asked whether a key works: keys spread through the regions at their own pace, so that
 * one region's word is not enough (R01). A region and another of its partition, nearby.
 */
export function probeRegions(region: string): readonly string[] {
  const [, one, other] = pairs.find(([begins]) => region.startsWith(begins))!
  if (one === '') return [region]
  return [region, region === one ? other : one]
}

/** How many keys are remembered; they are probed for minutes. */
const keysMax = 1_000

/**
 * Whose turn it is, key by key: probes in a row go to one region after the other, so that a run of
 * equal answers is a run of all of them.
 */
export class Turns {
  readonly #regions: readonly string[]
  readonly #taken = new Map<string, number>()

  constructor(regions: readonly string[]) {
    this.#regions = regions
  }

  next(keyId: string): string {
    const taken = this.#taken.get(keyId) ?? 0
    this.#taken.delete(keyId)
    this.#taken.set(keyId, taken + 1)
    if (this.#taken.size > keysMax) this.#taken.delete(this.#taken.keys().next().value!)
    return this.#regions[taken % this.#regions.length]!
  }
}
