import { randomUUID } from 'node:crypto'
import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { CredentialId } from '../../src/domain/ids.ts'
import { defaultTenant } from '../../src/domain/ids.ts'
import { Secret } from '../../src/domain/secret.ts'
import {
  ProviderError,
  shownVersion,
  type Call,
  type SecretSink,
  type SinkTarget,
} from '../../src/provider/contract.ts'

export interface SinkUnderTest {
  readonly sink: SecretSink
  /** What a consumer reads at the target now, without the sink's help; null when nothing is there. */
  currentBytes(target: SinkTarget): Promise<Buffer | null>
  /** The store keeps an unlabelled version readable by its id until it prunes it in its own time. */
  readonly prunesLater?: boolean
  /** A path this sink takes. Default: one that is new each time. */
  readonly path?: string
  /** The same sink with something wrong (a label, and how it is then connected). */
  readonly misconfigured?: Readonly<Record<string, () => SecretSink | Promise<SecretSink>>>
  dispose(): Promise<void>
}

export function sinkCall(key: string = randomUUID()): Call {
  return {
    key,
    operation: null,
    signal: new AbortController().signal,
    fence: () => Promise.resolve(true),
  }
}

export function sinkTarget(path = `svc/${randomUUID()}`): SinkTarget {
  return { tenant: defaultTenant, credential: randomUUID() as CredentialId, path }
}

const shown = (version: string | null): string | null =>
  version === null ? null : shownVersion(version)

/** Resolves to the ProviderError that `promise` fails with; anything else fails the test. */
export async function refusalOf(promise: Promise<unknown>): Promise<ProviderError> {
  const error = await promise.then(
    () => null,
    (e: unknown) => e,
  )
  expect(error).toBeInstanceOf(ProviderError)
  return error as ProviderError
}

/** What every sink promises (`SecretSink` in src/provider/contract.ts), tried on a real one. */
export function sinkConformance(label: string, make: () => Promise<SinkUnderTest>): void {
  describe(`${label} keeps the promises of a sink`, () => {
    let it_: SinkUnderTest
    let sink: SecretSink
    let target: SinkTarget

    const deliver = async (text: string, key = randomUUID()) => ({
      key,
      version: await sink.deliver(target, Secret.ofText(text), sinkCall(key)),
    })
    const current = async () => (await it_.currentBytes(target))?.toString('utf8') ?? null
    /** Null for every version of a sink that cannot read. */
    const read = async (version: string) => {
      if (!sink.canRead) return null
      return (
        (await sink.read(target, version, sinkCall()))?.use((bytes) => bytes.toString('utf8')) ??
        null
      )
    }

    beforeEach(async () => {
      it_ = await make()
      sink = it_.sink
      target = sinkTarget(it_.path)
    })
    afterEach(async () => {
      await sink.close()
      await it_.dispose()
    })

    it('shows consumers nothing before the first version is promoted', async () => {
      await sink.check(target, sinkCall())
      const { version } = await deliver('first secret')

      expect(await current()).toBeNull()

      await sink.promote(target, version, null, sinkCall())
      expect(await current()).toBe('first secret')
    })

    it('keeps serving the old version until the new one is promoted', async () => {
      const one = await deliver('one')
      await sink.promote(target, one.version, null, sinkCall())

      const two = await deliver('two')
      expect(await current()).toBe('one')

      await sink.promote(target, two.version, one.version, sinkCall())
      expect(await current()).toBe('two')
    })

    it('tells which version consumers read, if it can tell at all', async () => {
      if (!sink.current) return
      const ask = () => sink.current!(target, sinkCall())
      const before = await ask()
      await sink.check(target, sinkCall())
      const one = await deliver('one')
      const staged = await ask()
      await sink.promote(target, one.version, null, sinkCall())
      const two = await deliver('two')
      const first = await ask()
      await sink.promote(target, two.version, one.version, sinkCall())
      const second = await ask()
      await sink.remove(target, sinkCall())

      const told = [before, staged, first, second, await ask()]
      const expected = [null, null, one.version, two.version, null]
      expect(told.map(shown)).toEqual(expected.map(shown))
    })

    it('answers promote with a URI that names the scheme of the sink', async () => {
      const { version } = await deliver('value')

      const ref = await sink.promote(target, version, null, sinkCall())

      expect(ref).toMatch(/^[a-z][a-z0-9+.-]*:\S+$/)
    })

    it('does nothing more when deliver and promote are repeated', async () => {
      const key = randomUUID()
      const first = await deliver('same', key)
      const again = await deliver('same', key)
      const ref = await sink.promote(target, first.version, null, sinkCall())
      const refAgain = await sink.promote(target, first.version, null, sinkCall())

      expect(shown(again.version)).toBe(shown(first.version))
      expect(refAgain).toBe(ref)
      expect(await current()).toBe('same')
    })

    it('refuses other bytes under a key that was used, where it keeps what is staged', async () => {
      if (sink.staging === 'carried') return
      const key = randomUUID()
      const { version } = await deliver('bytes', key)

      const error = await refusalOf(deliver('other bytes', key))

      expect(error).toMatchObject({ kind: 'conflict', outcome: 'notApplied' })
      await sink.promote(target, version, null, sinkCall())
      expect(await current()).toBe('bytes')
    })

    it('promotes only from the version the caller believes to be current', async () => {
      const one = await deliver('one')
      const two = await deliver('two')
      const three = await deliver('three')
      await sink.promote(target, one.version, null, sinkCall())
      await sink.promote(target, two.version, one.version, sinkCall())

      const stale = await refusalOf(sink.promote(target, three.version, one.version, sinkCall()))
      const blind = await refusalOf(sink.promote(target, three.version, null, sinkCall()))

      expect(stale).toMatchObject({ kind: 'conflict', outcome: 'notApplied' })
      expect(blind).toMatchObject({ kind: 'conflict', outcome: 'notApplied' })
      expect(await current()).toBe('two')
    })

    it('can promote back to a version that was kept', async () => {
      const one = await deliver('one')
      const two = await deliver('two')
      await sink.promote(target, one.version, null, sinkCall())
      await sink.promote(target, two.version, one.version, sinkCall())

      await sink.promote(target, one.version, two.version, sinkCall())

      expect(await current()).toBe('one')
    })

    it('finds a delivery by its key, and only a delivery that arrived', async () => {
      expect(await sink.find(target, randomUUID(), sinkCall())).toBeNull()

      const { key, version } = await deliver('found')

      // A version that carries its secret is nowhere else: if it is lost, so is the delivery.
      const found = sink.staging === 'carried' ? null : version
      expect(await sink.find(target, key, sinkCall())).toBe(found)
      expect(await sink.find(target, randomUUID(), sinkCall())).toBeNull()
    })

    it('reads back every version it keeps, byte for byte, if it reads at all', async () => {
      const one = await deliver('one: ä\n')
      const two = await deliver('two')
      await sink.promote(target, one.version, null, sinkCall())
      await sink.promote(target, two.version, one.version, sinkCall())

      expect(await read(one.version)).toBe(sink.canRead ? 'one: ä\n' : null)
      expect(await read(two.version)).toBe(sink.canRead ? 'two' : null)
      expect(await read(randomUUID())).toBeNull()
    })

    it('discards staged and superseded versions, again and again', async () => {
      const one = await deliver('one')
      const two = await deliver('two')
      const staged = await deliver('staged')
      await sink.promote(target, one.version, null, sinkCall())
      await sink.promote(target, two.version, one.version, sinkCall())

      for (const { version } of [one, staged, one, staged]) {
        await sink.discard(target, version, sinkCall())
      }

      const left = it_.prunesLater ? ['one', 'staged'] : [null, null]
      expect([await read(one.version), await read(staged.version)]).toEqual(left)
      expect(await sink.find(target, staged.key, sinkCall())).toBeNull()
      expect(await current()).toBe('two')
    })

    it('keeps the current version when asked to discard it', async () => {
      const { version } = await deliver('current')
      await sink.promote(target, version, null, sinkCall())

      await sink.discard(target, version, sinkCall())

      expect(await current()).toBe('current')
    })

    it('removes everything, and a second time nothing', async () => {
      const one = await deliver('one')
      const staged = await deliver('staged')
      await sink.promote(target, one.version, null, sinkCall())

      await sink.remove(target, sinkCall())
      await sink.remove(target, sinkCall())

      expect(await current()).toBeNull()
      expect(await sink.find(target, one.key, sinkCall())).toBeNull()
      expect(await sink.find(target, staged.key, sinkCall())).toBeNull()
      expect(await read(one.version)).toBeNull()
    })

    it('carries no secret that others could read in what it says of a version', async () => {
      const { version } = await deliver('canary-5d1c7e')
      const ref = await sink.promote(target, version, null, sinkCall())

      expect(`${version} ${ref}`).not.toContain('canary-5d1c7e')
      expect(shownVersion(version)).toMatch(/^[\w.:-]{1,100}$/)
    })

    it('reports on its configuration, changes nothing and does not fail over what is wrong', async () => {
      if (!sink.examine) return
      await deliver('before')
      const well = await sink.examine(sinkCall())
      for (const connect of Object.values(it_.misconfigured ?? {})) {
        const broken = await connect()
        const report = await broken.examine!(sinkCall())
        await broken.close()
        expect(report.findings.filter((f) => f.state !== 'ok')).not.toEqual([])
      }

      expect(well.findings.length).toBeGreaterThan(0)
      expect(well.findings.filter((f) => f.state === 'failed')).toEqual([])
      expect(await current()).toBeNull()
    })

    it('takes discard and remove for a target it never saw as done', async () => {
      await sink.discard(target, randomUUID(), sinkCall())
      await sink.remove(target, sinkCall())

      expect(await current()).toBeNull()
    })

    it('never overwrites or removes an object of another credential', async () => {
      const { version } = await deliver('mine')
      await sink.promote(target, version, null, sinkCall())
      const other = sinkTarget(target.path)

      const checked = await refusalOf(sink.check(other, sinkCall()))
      const delivered = await refusalOf(sink.deliver(other, Secret.ofText('theirs'), sinkCall()))
      await sink.remove(other, sinkCall()).catch(() => null)

      expect(checked).toMatchObject({ kind: 'conflict', outcome: 'notApplied' })
      expect(delivered).toMatchObject({ kind: 'conflict', outcome: 'notApplied' })
      expect(await current()).toBe('mine')
    })

    it('never tells a secret in an error', async () => {
      const canary = 'canary-7f3a9b'
      const key = randomUUID()
      await deliver('before', key)
      const aborted = { ...sinkCall(), signal: AbortSignal.abort() }

      const used = sinkCall(key)
      const errors = [
        ...(sink.staging === 'carried'
          ? []
          : [await refusalOf(sink.deliver(target, Secret.ofText(canary), used))]),
        await refusalOf(sink.deliver(target, Secret.ofText(canary), aborted)),
        await refusalOf(
          sink
            .deliver(sinkTarget(target.path), Secret.ofText(canary), sinkCall())
            .then((v) => sink.promote(target, v, 'nothing-like-that', sinkCall())),
        ),
      ]

      for (const error of errors) {
        expect(inspect(error, { depth: 10 })).not.toContain(canary)
        expect(JSON.stringify(error)).not.toContain(canary)
      }
    })
  })
}
