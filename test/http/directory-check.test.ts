import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runCli } from '../support/run-cli.ts'
import { systemClock } from '../../src/host/clock.ts'
import type { DirectoryFace } from '../../src/sandbox/directories/face.ts'
import { oktaToken, startOktaSandbox } from '../../src/sandbox/directories/okta.ts'
import { DirectoryWorld } from '../../src/sandbox/directories/world.ts'
import type { TestCustody } from '../support/custody.ts'
import { eventually, startTestCustody } from '../support/custody.ts'
import { enterpriseUrn, patch, person } from '../support/scim.ts'

const peopleCount = 80
const lost = 0.05

let home: string
let world: DirectoryWorld
let okta: DirectoryFace
let custody: TestCustody
let token: string
beforeAll(async () => {
  home = await mkdtemp(path.join(tmpdir(), 'custody-truth-'))
  world = new DirectoryWorld(systemClock)
  okta = await startOktaSandbox(world)
  await writeFile(path.join(home, 'okta-token'), oktaToken)
  await writeFile(
    path.join(home, 'custody.yaml'),
    `directories:\n  - { name: default, type: okta, config: { baseUrl: "${okta.url}", tokenFile: okta-token } }\n`,
  )
  custody = await startTestCustody({ home, config: true, quiet: true, roles: ['http'] })
  token = (await custody.createClient('directory', { name: 'Okta' })).token
})
afterAll(async () => {
  await custody.close()
  await okta.close()
  await rm(home, { recursive: true, force: true })
})

/** What a command prints, and its exit code. */
async function run(line: string, change: { readonly cwd?: string } = {}) {
  return runCli(line, {
    env: { CUSTODY_HOME: home, NO_COLOR: '1' },
    cwd: change.cwd ?? home,
  })
}

/** A stream of numbers below 1 that a seed decides (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

const sorted = (names: Iterable<string>) => [...names].toSorted()
const named = (rows: readonly { readonly userName: string }[]) =>
  sorted(rows.map((row) => row.userName))

describe('a directory of which 5 % of all requests were lost', () => {
  const seed = Number(process.env['CUSTODY_SEED'] ?? 20_261_122)
  const missing = new Set<string>()
  const missed = new Set<string>()
  const stale = new Set<string>()
  let requests = 0
  let dropped = 0

  beforeAll(async () => {
    const random = randomOf(seed)
    const arrives = () => {
      requests++
      if (random() >= lost) return true
      dropped++
      return false
    }
    const send = async (method: string, route: string, body: unknown) => {
      const reply = await custody.call(method, `/scim/v2/Users${route}`, body, { token })
      expect(reply.status).toBeLessThan(300)
      return reply
    }
    const one = async (i: number) => {
      const login = `person-${String(i).padStart(3, '0')}@acme.example`
      const there = world.add(login)
      const emails = [{ value: login, primary: true }]
      const want = { externalId: there.id, emails, [enterpriseUrn]: { department: 'R&D' } }
      let id: string | null = null
      if (arrives()) id = (await send('POST', '', person(login, want))).body.id
      else missing.add(login)
      if (random() < 0.5) {
        const email = `new-${login}`
        world.change(there.id, { email })
        const change = patch({ op: 'replace', path: 'emails', value: [{ value: email }] })
        if (id !== null && arrives()) await send('PATCH', `/${id}`, change)
        else if (id !== null) stale.add(login)
      }
      if (random() < 0.4) {
        world.deactivate(there.id)
        missing.delete(login)
        const change = patch({ op: 'replace', path: 'active', value: false })
        if (id !== null && arrives()) await send('PATCH', `/${id}`, change)
        else if (id !== null) missed.add(login)
        stale.delete(login)
      }
    }
    for (let i = 0; i < peopleCount; i++) await one(i)
    console.info(`seed ${seed}: ${dropped} of ${requests} requests were lost`)
  })

  it('lists exactly the differences', async () => {
    const { status, body } = await custody.call('POST', '/api/v1/directories/default/check')

    expect(status).toBe(200)
    const { report } = body.check
    expect(named(report.missed)).toEqual(sorted(missed))
    expect(named(report.missing)).toEqual(sorted(missing))
    expect(named(report.differences)).toEqual(sorted(stale))
    expect([report.ghosts, report.returned, report.ambiguous]).toEqual([[], [], []])
    expect(body.check.all - body.check.agreeing).toBe(missed.size + missing.size)
    expect(body.check.accuracy).toBe(body.check.agreeing / body.check.all)
    // A run without losses would prove nothing: a seed that loses too little says so here.
    expect(Math.min(missed.size, missing.size, stale.size)).toBeGreaterThan(0)
  })

  it('shows them, writes them into a plan, and ends what the plan says', async () => {
    const shown = await run('directory check --dry-run')
    expect(shown.code).toBe(6)
    expect(shown.stdout).toContain(`${missed.size} gone there, active here`)
    const plan = path.join(home, 'directory-default.yaml')
    expect(await readFile(plan, 'utf8')).toContain('custody: directory-plan/1')
    expect((await run(`apply ${plan}`)).code).toBe(2)

    const applied = await run(`apply ${plan} --yes`)
    expect(applied.stderr).toBe('')
    expect(applied.stdout).toBe(
      `${missed.size} declared gone, 0 gone already, 0 changed since, 0 failed\n`,
    )
    expect(applied.code).toBe(0)
    expect((await run(`apply ${plan} --yes`)).stdout).toContain(`${missed.size} gone already`)

    const { body } = await custody.call('POST', '/api/v1/directories/default/check')
    expect(body.check.report.missed).toEqual([])
    expect(named(body.check.report.missing)).toEqual(sorted(missing))
    expect(body.check.all - body.check.agreeing).toBe(missing.size)
  })

  it('says how well both agree in the metrics, and who has been heard', async () => {
    const { status } = await custody.call('GET', '/api/v1/directories/default/check')
    expect(status).toBe(200)
    const response = await fetch(`${custody.url}/metrics`, {
      headers: { authorization: `Bearer ${custody.adminToken}` },
    })
    const text = await response.text()
    const accuracy = /^custody_directory_accuracy\{directory="default"\} (.*)$/m.exec(text)?.[1]
    expect(Number(accuracy)).toBeGreaterThan(0.9)
    expect(Number(accuracy)).toBeLessThan(1)
    expect(text).toMatch(/^custody_directory_check_complete\{directory="default"\} 1$/m)

    const list = await run('directory list --json')
    const [row] = JSON.parse(list.stdout)
    expect(row).toMatchObject({ name: 'default', type: 'okta', lastCheck: { complete: true } })
    expect(row.heard).toMatchObject([{ name: 'Okta', silent: false }])
  })

  it('reports a listing that breaks off, and ends nobody', async () => {
    const left = [...world.people.values()].find((p) => p.status === 'ACTIVE' && p.login)!
    world.deactivate(left.id)
    world.pageMax = 20
    world.faults.fail = { status: 403, times: 1, after: 2 }

    const { code, stdout, stderr } = await run('directory check --apply --yes')

    expect(code).toBe(6)
    expect(stdout).toMatch(/Incomplete: default .* answers 403: the token may not read users/)
    expect(stdout + stderr).not.toContain(oktaToken)
    const { body } = await custody.call('GET', '/api/v1/directories/default/check')
    expect(body.check).toMatchObject({ complete: false, accuracy: null })
    expect((await run('directory check --apply --yes')).stdout).toContain('1 declared gone')
  })

  it('leaves who was written meanwhile, says so, and ends with 6', async () => {
    const [one, other] = [...world.people.values()].filter((p) => p.status === 'ACTIVE')
    const ids = await Promise.all(
      [one!, other!].map(async ({ login }) => {
        const filter = encodeURIComponent(`userName eq "${login}"`)
        const { body } = await custody.call('GET', `/scim/v2/Users?filter=${filter}`)
        return body.Resources[0].id as string
      }),
    )
    world.deactivate(one!.id)
    world.deactivate(other!.id)
    await run('directory check --dry-run --output two.yaml')
    const rename = patch({ op: 'replace', path: 'displayName', value: 'Somebody Else' })
    await custody.call('PATCH', `/scim/v2/Users/${ids[0]}`, rename)

    const { code, stdout, stderr } = await run('apply two.yaml --yes')

    expect(code).toBe(6)
    expect(stdout).toBe('1 declared gone, 0 gone already, 1 changed since, 0 failed\n')
    expect(stderr).toContain(`${one!.login}: was written since the check`)
    expect((await custody.call('GET', `/scim/v2/Users/${ids[0]}`)).body.active).toBe(true)

    const route = '/api/v1/directories/default/check'
    const started = await custody.call('POST', `${route}?wait=false`)
    expect(started.status).toBe(202)
    const seen = await eventually(
      () => custody.call('GET', route),
      ({ body }) => body.check.id === started.body.running.id,
    )
    expect(seen.body.check.report.missed).toHaveLength(1)
  })
})

describe('custody doctor directory', () => {
  it('names thin groups, missing managers, hoarders, odd attributes and records that disagree', async () => {
    const boss = await custody.createPerson('boss@acme.example')
    for (let i = 0; i < 21; i++) {
      const nhi = { credentials: [] }
      expect((await custody.requestAccount(`svc-${i}`, boss, nhi)).status).toBe(201)
    }
    const group = await custody.call('POST', '/scim/v2/Groups', {
      schemas: ['urn:ietf:params:scim:schemas:core:2.0:Group'],
      displayName: 'platform',
      members: [{ value: boss }],
    })
    const nhi = { owner: { value: group.body.id, type: 'Group' }, credentials: [] }
    expect((await custody.requestAccount('svc-of-group', boss, nhi)).status).toBe(201)
    const odd = person('odd@acme.example', { active: 'True', shoeSize: 44 })
    expect((await custody.call('POST', '/scim/v2/Users', odd, { token })).status).toBe(201)
    await custody.call('GET', '/api/v1/scim-requests')
    world.add('renamed@acme.example', { email: 'boss@acme.example' })
    world.add('odd@acme.example')

    await run('directory check')
    const { code, stdout } = await run('doctor directory --json')
    const items = JSON.parse(stdout) as { check: string; subject: string; found: string }[]
    const of = (check: string) =>
      items.filter((i) => i.check === check).map((i) => `${i.subject} ${i.found}`)

    expect(code).toBe(6)
    expect(of('many-accounts')).toEqual(['boss@acme.example owns 21 accounts'])
    expect(of('thin-group')).toEqual(['platform owns 1 account(s) and has one active person in it'])
    expect(of('no-manager')).toContain('boss@acme.example has no manager, and owns 21 account(s)')
    expect(of('attribute-format').join('\n')).toMatch(/Okta sends User active as .*repaired/)
    expect(of('attribute-format').join('\n')).toMatch(/Okta sends User shoeSize .*ignored/)
    expect(of('disagreement').join()).toMatch(/^default \d+ of \d+ records disagree$/)
    const told = await run('doctor directory')
    expect(told.stdout).toContain('custody account transfer')
  })

  it('refuses whoever may not read', async () => {
    const { token: owner } = await custody.createClient('owner')
    for (const route of ['/api/v1/doctor/directory', '/api/v1/directories']) {
      expect((await custody.call('GET', route, undefined, { token: owner })).status).toBe(403)
    }
    const wish = { check: 'x', peple: [] }
    const apply = '/api/v1/directories/default/check/apply'
    const typo = await custody.call('POST', apply, wish)
    expect(typo.status).toBe(400)
    expect(typo.text).toContain('did you mean \\"people\\"')
  })
})
