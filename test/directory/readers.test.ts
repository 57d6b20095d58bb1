import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { DirectoryHost } from '../../src/directory/calls.ts'
import { nextOf } from '../../src/directory/okta.ts'
import { checkDirectories, openDirectories } from '../../src/directory/open.ts'
import type { DirectoryListing } from '../../src/domain/directory.ts'
import { startDirectorySandboxes } from '../../src/sandbox/directories/both.ts'
import type { DirectorySandboxes } from '../../src/sandbox/directories/both.ts'
import type { Asked } from '../../src/sandbox/directories/face.ts'
import { serveFace } from '../../src/sandbox/directories/face.ts'
import { graphApp } from '../../src/sandbox/directories/graph.ts'
import { oktaToken } from '../../src/sandbox/directories/okta.ts'
import { ManualClock } from '../support/manual-clock.ts'

let home: string
let clock: ManualClock
let host: DirectoryHost
let boxes: DirectorySandboxes
let slept = 0

beforeEach(async () => {
  home = await mkdtemp(path.join(tmpdir(), 'custody-directory-'))
  clock = new ManualClock()
  slept = 0
  host = {
    clock,
    sleep: async (milliseconds) => {
      slept += milliseconds
      clock.advance(milliseconds / 1_000)
    },
    resolvePath: (file) => path.resolve(home, file),
  }
  boxes = await startDirectorySandboxes(clock)
  await writeFile(path.join(home, 'okta-token'), `${oktaToken}\n`)
  await writeFile(path.join(home, 'graph-secret'), graphApp.clientSecret)
})
afterEach(async () => {
  await boxes.close()
  await rm(home, { recursive: true, force: true })
})

const configs = {
  okta: () => ({ baseUrl: boxes.okta.url, tokenFile: 'okta-token' }),
  entra: () => ({
    baseUrl: boxes.graph.url,
    loginUrl: boxes.graph.url,
    tenantId: graphApp.tenantId,
    clientId: graphApp.clientId,
    clientSecretFile: 'graph-secret',
  }),
}
type Kind = keyof typeof configs
const kinds: readonly Kind[] = ['okta', 'entra']

async function read(type: string, config: Readonly<Record<string, unknown>>) {
  const entries = [{ name: 'dir', type, config }]
  expect(checkDirectories(entries)).toEqual([])
  return openDirectories(entries, host).get('dir')!.read()
}
const readKind = (kind: Kind, more: object = {}): Promise<DirectoryListing> =>
  read(kind, { ...configs[kind](), ...more })
const states = ({ people }: DirectoryListing) =>
  Object.fromEntries(people.map((p) => [p.userName, p.state]))

const everybody = {
  'ada@acme.example': 'active',
  'ben@acme.example': 'active',
  'cleo@acme.example': 'active',
  'dan@acme.example': 'left',
}

describe.each(kinds)('a directory of type %s', (kind) => {
  it('is read from page to page, those who left included', async () => {
    boxes.world.pageMax = 1

    const listing = await readKind(kind)

    expect(listing).toMatchObject({ complete: true, trouble: null })
    expect(states(listing)).toEqual(everybody)
  })

  it('is waited for when it says how long, and read to the end', async () => {
    boxes.world.pageMax = 1
    boxes.world.requestsPerMinute = 2

    const listing = await readKind(kind)

    expect(states(listing)).toEqual(everybody)
    expect(slept).toBeGreaterThan(55_000)
  })

  it('is incomplete when a page keeps failing, and tells of those who were seen', async () => {
    boxes.world.pageMax = 2
    boxes.world.faults.fail = { status: 503, times: 100, retryAfter: 1, after: 1 }

    const { complete, people, trouble } = await readKind(kind)

    expect(complete).toBe(false)
    expect(people.map((p) => p.userName)).toEqual(['ada@acme.example', 'ben@acme.example'])
    expect(trouble).toMatch(/answers 503/)
  })

  it('gives up for good what is refused, without a word of the secret', async () => {
    await writeFile(path.join(home, 'okta-token'), 'wrong-token')
    await writeFile(path.join(home, 'graph-secret'), 'wrong-secret')

    const { complete, people, trouble } = await readKind(kind)

    expect({ complete, people }).toEqual({ complete: false, people: [] })
    expect(trouble).toMatch(/401|invalid_client/)
    expect(trouble).not.toMatch(/wrong-token|wrong-secret/)
  })

  it('is incomplete without its secret, or without a server', async () => {
    await rm(path.join(home, 'okta-token'))
    await rm(path.join(home, 'graph-secret'))
    expect((await readKind(kind)).trouble).toMatch(/cannot be read \(ENOENT\)/)

    await writeFile(path.join(home, 'okta-token'), oktaToken)
    await writeFile(path.join(home, 'graph-secret'), graphApp.clientSecret)
    const nowhere = { baseUrl: 'http://127.0.0.1:9', loginUrl: 'http://127.0.0.1:9' }
    const more = kind === 'okta' ? { baseUrl: nowhere.baseUrl } : nowhere
    expect((await readKind(kind, more)).trouble).toMatch(/cannot be reached/)
  })

  it('never follows a next page to another host, nor in a circle', async () => {
    for (const target of ['http://127.0.0.1:9/elsewhere', null]) {
      const face = await serveFace(boxes.world, (asked) => lure(kind, asked, target))
      const more = kind === 'okta' ? { baseUrl: face.url } : { baseUrl: face.url }
      const { complete, trouble } = await readKind(kind, more)
      await face.close()

      expect(complete).toBe(false)
      expect(trouble).toMatch(target === null ? /circle/ : /another host/)
    }
  })
})

/** A first page whose next one is `target`, or itself. */
function lure(kind: Kind, { url }: Asked, target: string | null) {
  const next = target ?? url.href
  return kind === 'okta'
    ? { status: 200, body: [], headers: { link: `<${next}>; rel="next"` } }
    : { status: 200, body: { value: [], '@odata.nextLink': next } }
}

describe('Okta', () => {
  it('says since when somebody is gone, who manages whom, and who is in between', async () => {
    const [ada, ben] = [...boxes.world.people.values()]
    clock.advance(60)
    boxes.world.change(ben!.id, { managerId: ada!.id, employeeNumber: '7', status: 'SUSPENDED' })
    boxes.world.change(ada!.id, { status: 'A_NEW_WORD' })

    const { people } = await readKind('okta')

    expect(people.find((p) => p.id === ben!.id)).toEqual({
      id: ben!.id,
      userName: 'ben@acme.example',
      email: 'ben@acme.example',
      externalId: null,
      employeeNumber: '7',
      state: 'unsettled',
      deleted: false,
      manager: ada!.id,
      leavesAt: null,
      changedAt: '2026-11-22T09:01:00.000Z',
    })
    expect(people.find((p) => p.id === ada!.id)?.state).toBe('unsettled')
    expect(people.find((p) => p.userName === 'dan@acme.example')?.changedAt).toBe(
      '2026-11-22T09:00:00.000Z',
    )
  })

  it('links pages by one header or by several', () => {
    const link = (rel: string) => `<https://acme.okta.com/api/v1/users?after=x,y&z>; rel="${rel}"`
    const next = 'https://acme.okta.com/api/v1/users?after=x,y&z'

    expect(nextOf(`${link('self')}, ${link('next')}`)).toBe(next)
    expect(nextOf(`${link('next')}, ${link('self')}`)).toBe(next)
    expect(nextOf(link('self'))).toBeNull()
    expect(nextOf(null)).toBeNull()
  })
})

describe('Microsoft Graph', () => {
  it('tells of the recycle bin by the name somebody had, and of managers', async () => {
    const [ada, ben] = [...boxes.world.people.values()]
    boxes.world.change(ada!.id, { managerId: ben!.id })
    clock.advance(60)
    boxes.world.remove(ben!.id)

    const { people } = await readKind('entra')

    expect(people.find((p) => p.id === ada!.id)?.manager).toBe(ben!.id)
    expect(people.find((p) => p.id === ben!.id)).toMatchObject({
      userName: 'ben@acme.example',
      state: 'left',
      deleted: true,
      changedAt: '2026-11-22T09:01:00.000Z',
    })
  })

  it('begins anew when the place is lost once, and is incomplete when it is lost again', async () => {
    boxes.world.pageMax = 2
    boxes.world.faults.expireCursor = 1
    expect(states(await readKind('entra'))).toEqual(everybody)

    boxes.world.faults.expireCursor = 2
    const { complete, trouble } = await readKind('entra')
    expect(complete).toBe(false)
    expect(trouble).toMatch(/lost the place/)
  })

  it('is incomplete when pages end without the link that ends them', async () => {
    boxes.world.pageMax = 1
    boxes.world.faults.truncateAfter = 2

    const listing = await readKind('entra')

    expect(listing.complete).toBe(false)
    expect(listing.people).toHaveLength(2)
    expect(listing.trouble).toMatch(/stops in the middle/)
  })
})

describe('a list in a file', () => {
  const readText = async (text: string | Buffer) => {
    await writeFile(path.join(home, 'people.csv'), text)
    return read('csv', { file: 'people.csv' })
  }

  it('is read by its columns', async () => {
    const text =
      'employeeNumber,username,active,manager,changedAt,team\n' +
      '7,ada@acme.example,TRUE,,,x\n8,ben@acme.example,no,ada@acme.example,2026-11-01T00:00:00Z,x\n'

    const { people, complete } = await readText(text)

    expect(complete).toBe(true)
    expect(people.map((p) => [p.userName, p.state, p.manager, p.employeeNumber])).toEqual([
      ['ada@acme.example', 'active', null, '7'],
      ['ben@acme.example', 'left', 'ada@acme.example', '8'],
    ])
    expect(people[1]!.changedAt).toBe('2026-11-01T00:00:00.000Z')
  })

  it.each([
    ['a name twice', 'userName\nada\nada\n', /line 3: is the same person as line 2/],
    ['a formula', 'userName\n=HYPERLINK("x")\n', /line 2.*/],
    ['a word for active that is none', 'userName,active\nada,perhaps\n', /line 2: active must be/],
    ['a date that is none', 'userName,changedAt\nada,soon\n', /line 2: changedAt must be/],
    ['no userName', 'name\nada\n', /has no column "userName"/],
    ['another encoding', Buffer.from('userName\nJos\xe9\n', 'latin1'), /not UTF-8/],
  ])('with %s is no list at all', async (_what, text, reason) => {
    const { people, complete, trouble } = await readText(text)

    expect({ people, complete }).toEqual({ people: [], complete: false })
    expect(trouble).toMatch(reason)
  })
})

describe('the configuration of directories', () => {
  it.each([
    ['octa', {}, /unknown type "octa"; did you mean "okta"/],
    ['okta', { baseUrl: 'https://a.okta.com', tokenfile: 'x' }, /did you mean "tokenFile"/],
    ['okta', { baseUrl: 'http://a.okta.com', tokenFile: 'x' }, /must be an https address/],
    ['entra', { tenantId: 't', clientId: 'c' }, /clientSecretFile: is required/],
    ['csv', { file: 'x', cycle: 'P1M' }, /must be a duration/],
    ['csv', { file: 'x', scope: 'some' }, /must be one of: everyone, assigned/],
  ])('of type %s names what is wrong', (type, config, sentence) => {
    const problems = checkDirectories([{ name: 'dir', type, config }])

    expect(problems.map((p) => `${p.path}: ${p.message}`).join('\n')).toMatch(sentence)
  })
})
