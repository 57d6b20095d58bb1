import { randomBytes, randomUUID } from 'node:crypto'
import fsPromises, {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createFile } from '../../providers/file/files.ts'
import { file } from '../../providers/file/index.ts'
import { Secret } from '../../src/domain/secret.ts'
import type { HostContext, SecretSink, SinkTarget } from '../../src/provider/contract.ts'
import { refusalOf, sinkCall, sinkConformance, sinkTarget } from '../conformance/sink.ts'
import { ManualClock } from '../support/manual-clock.ts'

function openSink(directory: string): SecretSink {
  const host: HostContext = {
    name: 'files',
    clock: new ManualClock(),
    random: (n) => randomBytes(n),
    resolvePath: (path) => join(directory, path),
    tokens: null as never,
    pepper: Secret.ofText('unused'),
  }
  return file.create(host, { directory: 'secrets' })
}

async function bytesOrNull(path: string): Promise<Buffer | null> {
  return readFile(path).catch(() => null)
}

sinkConformance('the file sink', async () => {
  const home = await mkdtemp(join(tmpdir(), 'custody-file-'))
  return {
    sink: openSink(home),
    currentBytes: (t) => bytesOrNull(join(home, 'secrets', t.tenant, t.path)),
    dispose: () => rm(home, { recursive: true }),
  }
})

describe('the file sink', () => {
  let home: string
  let secrets: string
  let sink: SecretSink
  let target: SinkTarget
  let path: string
  let vault: string

  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'custody-file-'))
    secrets = join(home, 'secrets')
    sink = openSink(home)
    target = sinkTarget('payments/db')
    path = join(secrets, 'default/payments/db')
    vault = join(secrets, '.custody/default', target.credential)
  })
  afterEach(() => rm(home, { recursive: true }))

  const deliver = (text: string, key: string = randomUUID()) =>
    sink.deliver(target, Secret.ofText(text), sinkCall(key))
  const promote = (version: string, from: string | null) =>
    sink.promote(target, version, from, sinkCall())
  const index = async () =>
    JSON.parse(await readFile(join(vault, 'index.json'), 'utf8')) as {
      current: string | null
      versions: string[]
    }
  const leftovers = async () =>
    (await readdir(secrets, { recursive: true })).filter((name) => name.endsWith('.tmp'))

  it('writes the bare bytes, for the owner of the process only', async () => {
    const ref = await promote(await deliver('s3cret'), null)

    expect(fileURLToPath(ref)).toBe(path)
    expect(await readFile(path, 'utf8')).toBe('s3cret')
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    for (const directory of [secrets, dirname(path), dirname(dirname(path)), vault]) {
      expect((await stat(directory)).mode & 0o777).toBe(0o700)
    }
    for (const name of await readdir(vault)) {
      expect((await stat(join(vault, name))).mode & 0o777).toBe(0o600)
    }
  })

  it('keeps no secret in its index', async () => {
    const key = randomUUID()
    await promote(await deliver('canary-in-index', key), null)

    const text = await readFile(join(vault, 'index.json'), 'utf8')

    expect(text).toContain(key)
    expect(text).toContain(target.credential)
    expect(text).not.toContain('canary-in-index')
  })

  it('never overwrites a file it did not write, not even one that appears late', async () => {
    const version = await deliver('ours')
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, 'a file of someone else')

    const promoted = await refusalOf(promote(version, null))
    const checked = await refusalOf(sink.check(target, sinkCall()))
    const removed = await refusalOf(sink.remove(target, sinkCall()))

    for (const error of [promoted, checked, removed]) {
      expect(error).toMatchObject({ kind: 'conflict', outcome: 'notApplied' })
    }
    expect(await readFile(path, 'utf8')).toBe('a file of someone else')
    expect(await leftovers()).toEqual([])
  })

  it('does not touch the file when a promotion is repeated', async () => {
    const version = await deliver('one')
    await promote(version, null)
    const { ino } = await stat(path)

    await promote(version, null)

    expect((await stat(path)).ino).toBe(ino)
  })

  it('creates a target only where nothing is, even when it appears at the last moment', async () => {
    const taken = join(home, 'taken')
    await writeFile(taken, 'somebody was faster')

    const created = await createFile(taken, join(home, 'taken.tmp'), Buffer.from('ours'))

    expect(created).toBe(false)
    expect(await readFile(taken, 'utf8')).toBe('somebody was faster')
    expect(await bytesOrNull(join(home, 'taken.tmp'))).toBeNull()
  })

  it('treats a file that was edited by hand as foreign', async () => {
    const one = await deliver('one')
    await promote(one, null)
    await writeFile(path, 'edited')

    const error = await refusalOf(deliver('two'))

    expect(error.kind).toBe('conflict')
    expect(await readFile(path, 'utf8')).toBe('edited')
  })

  it('puts a file back that someone deleted when promotion is repeated', async () => {
    const one = await deliver('one')
    await promote(one, null)
    await rm(path)

    await promote(one, null)

    expect(await readFile(path, 'utf8')).toBe('one')
  })

  it.each(['a/../../../etc/passwd', '../x', 'a//b', 'a/./b', 'a/', '/etc/x', 'a/.custody/x', '..'])(
    'refuses the path %s',
    async (bad) => {
      const error = await refusalOf(
        sink.deliver({ ...target, path: bad }, Secret.ofText('x'), sinkCall()),
      )

      expect(error).toMatchObject({ kind: 'invalid', outcome: 'notApplied' })
    },
  )

  it.each(['..', '.custody', 'a/b', ''])('refuses the tenant "%s"', async (tenant) => {
    const error = await refusalOf(
      sink.deliver({ ...target, tenant: tenant as never }, Secret.ofText('x'), sinkCall()),
    )

    expect(error.kind).toBe('invalid')
  })

  it('refuses a call key that could leave the vault', async () => {
    const error = await refusalOf(deliver('x', '../../escape'))

    expect(error.kind).toBe('invalid')
    expect(await bytesOrNull(join(secrets, '.custody/escape'))).toBeNull()
  })

  it.each([
    ['the tenant directory', 'default'],
    ['a directory of the path', 'default/payments'],
    ['the vault', '.custody'],
    ['the tenant in the vault', '.custody/default'],
  ])('does not write through a symbolic link at %s', async (_where, at) => {
    const outside = join(home, 'outside')
    await mkdir(outside)
    await mkdir(dirname(join(secrets, at)), { recursive: true })
    await symlink(outside, join(secrets, at))

    const error = await refusalOf(deliver('x').then((v) => promote(v, null)))

    expect(error).toMatchObject({ kind: 'conflict', outcome: 'notApplied' })
    expect(await readdir(outside)).toEqual([])
  })

  it('does not follow a symbolic link at the target itself', async () => {
    const version = await deliver('x')
    await mkdir(dirname(path), { recursive: true })
    await writeFile(join(home, 'victim'), 'untouched')
    await symlink(join(home, 'victim'), path)

    const error = await refusalOf(promote(version, null))

    expect(error.kind).toBe('conflict')
    expect(await readFile(join(home, 'victim'), 'utf8')).toBe('untouched')
  })

  it('checks many targets of one directory at once', async () => {
    const targets = Array.from({ length: 12 }, (_, i) => sinkTarget(`payments/db-${i}`))

    await Promise.all(targets.map((t) => sink.check(t, sinkCall())))

    expect(await readdir(dirname(path))).toEqual([])
  })

  it('calls a target below another secret a conflict', async () => {
    await promote(await deliver('x'), null)
    const below = sinkTarget('payments/db/replica')

    const error = await refusalOf(sink.check(below, sinkCall()))

    expect(error).toMatchObject({ kind: 'conflict', outcome: 'notApplied' })
  })

  it('finds out before a key is minted that it may not write', async () => {
    await mkdir(join(secrets, 'default'), { recursive: true })
    await chmod(join(secrets, 'default'), 0o500)
    // Root writes anywhere: there the same answer comes from a file in the way.
    if (process.getuid?.() === 0) await writeFile(join(secrets, 'default/payments'), '')

    const error = await refusalOf(sink.check(target, sinkCall()))

    expect(['denied', 'conflict']).toContain(error.kind)
    await chmod(join(secrets, 'default'), 0o700)
  })

  it('leaves nothing behind when it checks', async () => {
    await sink.check(target, sinkCall())

    expect(await readdir(dirname(path))).toEqual([])
    expect(await readdir(vault)).toEqual([])
  })

  it('carries out calls for one credential one after the other', async () => {
    const keys = Array.from({ length: 8 }, () => randomUUID())

    await Promise.all(keys.map((key, n) => deliver(`secret ${n}`, key)))

    expect((await index()).versions.toSorted()).toEqual(keys.toSorted())
  })

  it('refuses to go on with a damaged index instead of forgetting what is ours', async () => {
    await promote(await deliver('one'), null)
    await writeFile(join(vault, 'index.json'), '{"credential":')

    const error = await refusalOf(deliver('two'))

    expect(error.kind).toBe('conflict')
    expect(await readFile(path, 'utf8')).toBe('one')
  })

  describe('killed at any file operation and started again', () => {
    const mutations = ['link', 'mkdir', 'open', 'rename', 'rm', 'unlink'] as const
    const real = Object.fromEntries(mutations.map((name) => [name, fsPromises[name]]))

    // Some 150 runs with a dozen syncs each: on a disk that takes 10 s, in memory 1 s.
    beforeEach(async () => {
      await rm(home, { recursive: true })
      home = await mkdtemp('/dev/shm/custody-file-').catch(() =>
        mkdtemp(join(tmpdir(), 'custody-file-')),
      )
      secrets = join(home, 'secrets')
      sink = openSink(home)
      path = join(secrets, 'default/payments/db')
    })

    /** Lets `count` file operations pass; from the next one on the process is dead. */
    function dieAfter(count: number, lastWord: 'before' | 'after'): () => boolean {
      let passed = 0
      for (const name of mutations) {
        Object.assign(fsPromises, {
          [name]: async (...args: unknown[]) => {
            if (passed > count) throw new Error('killed')
            const isLast = passed++ === count
            if (isLast && lastWord === 'before') throw new Error('killed')
            const run = real[name] as (...args: unknown[]) => Promise<unknown>
            const result = await run(...args)
            if (!isLast) return result
            // An open file stays behind empty, as after a kill before its first byte.
            if (name === 'open') await (result as { close(): Promise<void> }).close()
            throw new Error('killed')
          },
        })
      }
      syncBuiltinESMExports()
      return () => passed > count
    }

    afterEach(resurrect)
    function resurrect(): void {
      Object.assign(fsPromises, real)
      syncBuiltinESMExports()
    }

    type Shown = string | null
    const cases: {
      readonly what: string
      readonly prepare: () => Promise<void>
      readonly act: () => Promise<unknown>
      readonly before: Shown
      readonly after: Shown
    }[] = [
      {
        what: 'the first delivery',
        prepare: async () => {},
        act: () => deliver('one', 'k1'),
        before: null,
        after: null,
      },
      {
        what: 'the first promotion',
        prepare: async () => void (await deliver('one', 'k1')),
        act: () => promote('k1', null),
        before: null,
        after: 'one',
      },
      {
        what: 'a later delivery',
        prepare: async () => void (await promote(await deliver('one', 'k1'), null)),
        act: () => deliver('two', 'k2'),
        before: 'one',
        after: 'one',
      },
      {
        what: 'a later promotion',
        prepare: async () => {
          await promote(await deliver('one', 'k1'), null)
          await deliver('two', 'k2')
        },
        act: () => promote('k2', 'k1'),
        before: 'one',
        after: 'two',
      },
      {
        what: 'a discard',
        prepare: async () => {
          await promote(await deliver('one', 'k1'), null)
          await deliver('two', 'k2')
        },
        act: () => sink.discard(target, 'k2', sinkCall()),
        before: 'one',
        after: 'one',
      },
      {
        what: 'a removal',
        prepare: async () => {
          await promote(await deliver('one', 'k1'), null)
          await deliver('two', 'k2')
        },
        act: () => sink.remove(target, sinkCall()),
        before: 'one',
        after: null,
      },
    ]

    it.each(cases)('$what is finished by repeating it', async (c) => {
      const shown = async () => (await bytesOrNull(path))?.toString() ?? null
      const start = async () => {
        await rm(secrets, { recursive: true, force: true })
        sink = openSink(home)
        await c.prepare()
      }
      await start()
      await c.act()
      const reference = await tree()
      let boundaries = 0
      for (const lastWord of ['before', 'after'] as const) {
        for (let count = 0; ; count++) {
          await start()
          const died = dieAfter(count, lastWord)
          await c.act().catch(() => null)
          const hasDied = died()
          resurrect()

          // A consumer that looks now reads the old bytes or the new ones, whole.
          expect([c.before, c.after]).toContain(await shown())
          sink = openSink(home)
          await c.act()
          expect(await shown()).toBe(c.after)
          expect(await tree()).toEqual(reference)
          if (!hasDied) break
          boundaries += 1
        }
      }
      expect(boundaries).toBeGreaterThan(4)
    })

    it.each(['discard', 'remove'] as const)(
      'a delivery leaves no secret behind after %s',
      async (verb) => {
        for (let count = 0, hasDied = true; hasDied; count++) {
          await rm(secrets, { recursive: true, force: true })
          sink = openSink(home)
          const died = dieAfter(count, 'after')
          await deliver('left behind?', 'k1').catch(() => null)
          hasDied = died()
          resurrect()

          sink = openSink(home)
          if (verb === 'discard') await sink.discard(target, 'k1', sinkCall())
          else await sink.remove(target, sinkCall())

          expect(JSON.stringify(await tree())).not.toContain('left behind?')
        }
      },
    )

    /** Every file below the sink with its content. */
    async function tree() {
      const entries = await readdir(secrets, { recursive: true, withFileTypes: true })
      const files = entries.filter((e) => e.isFile()).map((e) => join(e.parentPath, e.name))
      return Promise.all(
        files.toSorted().map(async (name) => [name, await readFile(name, 'utf8')] as const),
      )
    }
  })

  describe('after a crash between two file operations', () => {
    it('finishes a delivery whose bytes were stored and not yet named', async () => {
      const key = randomUUID()
      await mkdir(vault, { recursive: true })
      await writeFile(join(vault, key), 'late')

      expect(await sink.find(target, key, sinkCall())).toBeNull()
      await deliver('late', key)

      expect(await sink.find(target, key, sinkCall())).toBe(key)
    })

    it('overwrites half-written temporary files', async () => {
      const key = randomUUID()
      await mkdir(vault, { recursive: true })
      await writeFile(join(vault, `${key}.tmp`), 'ha')
      await writeFile(join(vault, 'index.json.tmp'), '{"cred')
      await mkdir(dirname(path), { recursive: true })
      await writeFile(join(dirname(path), `.custody-${key}.tmp`), 'ha')

      await promote(await deliver('whole', key), null)

      expect(await readFile(path, 'utf8')).toBe('whole')
      expect(await leftovers()).toEqual([])
    })

    it('finishes a promotion that reached the target but not the index', async () => {
      const one = await deliver('one')
      await promote(one, null)
      const two = await deliver('two')
      await writeFile(path, 'two')

      await promote(two, one)

      expect((await index()).current).toBe(two)
      expect(await readFile(path, 'utf8')).toBe('two')
    })

    it('finishes a first promotion that was linked but not cleaned up', async () => {
      const one = await deliver('one')
      await mkdir(dirname(path), { recursive: true })
      await writeFile(path, 'one')
      await writeFile(join(dirname(path), `.custody-${one}.tmp`), 'one')

      await promote(one, null)

      expect((await index()).current).toBe(one)
      expect(await leftovers()).toEqual([])
    })

    it('takes a half-done promotion back when its version is discarded', async () => {
      const one = await deliver('one')
      await promote(one, null)
      const two = await deliver('two')
      await writeFile(path, 'two')

      await sink.discard(target, two, sinkCall())

      expect(await readFile(path, 'utf8')).toBe('one')
      expect(await sink.read(target, two, sinkCall())).toBeNull()
    })

    it('takes a half-done first promotion back when its version is discarded', async () => {
      const one = await deliver('one')
      await mkdir(dirname(path), { recursive: true })
      await writeFile(path, 'one')

      await sink.discard(target, one, sinkCall())

      expect(await bytesOrNull(path)).toBeNull()
    })

    it('discards half-written temporary files with their version', async () => {
      const one = await deliver('one')
      await mkdir(dirname(path), { recursive: true })
      await writeFile(join(vault, `${one}.tmp`), 'on')
      await writeFile(join(dirname(path), `.custody-${one}.tmp`), 'on')

      await sink.discard(target, one, sinkCall())

      expect(await leftovers()).toEqual([])
    })

    it('finishes a discard that had removed the bytes only', async () => {
      const one = await deliver('one')
      await rm(join(vault, one))

      expect(await sink.find(target, one, sinkCall())).toBeNull()
      await sink.discard(target, one, sinkCall())

      expect((await index()).versions).toEqual([])
    })

    it.each(['the target', 'the index'])('finishes a removal that had removed %s', async (what) => {
      const one = await deliver('one')
      await promote(one, null)
      await rm(path)
      if (what === 'the index') await rm(join(vault, 'index.json'))

      await sink.remove(target, sinkCall())

      expect(await bytesOrNull(path)).toBeNull()
      expect(await readdir(dirname(vault))).toEqual([])
    })
  })
})
