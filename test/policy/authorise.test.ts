import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { type Role, roles } from '../../src/domain/client.ts'
import {
  type Action,
  actions,
  type AuthoriseActor,
  type AuthoriseResource,
  type AuthoriseResourceType,
  compileAuthorisation,
} from '../../src/policy/authorise.ts'

const shipped = fileURLToPath(new URL('../../policies/authorisation', import.meta.url))
const authoriser = await compileAuthorisation(shipped)

type Situation =
  | 'created'
  | 'owned'
  | 'ownedByGroup'
  | 'named'
  | 'groupNamed'
  | 'stranger'
  | 'home'
  | 'abroad'
  | 'any'

/** How the resource stands to the actor (client c1, linked person p1 in group g1, directory d1). */
const situations: Readonly<Record<Situation, Partial<AuthoriseResource>>> = {
  created: { client: 'c1', owner: 'p2' },
  owned: { client: 'c2', owner: 'p1' },
  ownedByGroup: { client: 'c2', owner: 'g1' },
  groupNamed: { client: 'c2', owner: 'p2', pendingOwner: 'g1' },
  named: { client: 'c2', owner: 'p2', pendingOwner: 'p1' },
  stranger: { client: 'c2', owner: 'p2', pendingOwner: 'p3' },
  home: { directory: 'd1' },
  abroad: { directory: 'd2' },
  any: {},
}

const situationsOf: Readonly<Partial<Record<AuthoriseResourceType, readonly Situation[]>>> = {
  account: ['created', 'owned', 'ownedByGroup', 'named', 'groupNamed', 'stranger'],
  credential: ['created', 'owned', 'ownedByGroup', 'stranger'],
  operation: ['created', 'owned', 'ownedByGroup', 'stranger'],
  task: ['owned', 'ownedByGroup', 'stranger'],
  person: ['home', 'abroad'],
  group: ['home', 'abroad'],
}

const theirs: readonly Situation[] = ['owned', 'ownedByGroup']
const keeper: readonly Situation[] = ['created', ...theirs]

/**
 * Who may what, reviewed against the roles as published. A role that is not named may not; `admin`
 * may everything and is not repeated.
 */
const table: Readonly<
  Record<
    Action,
    readonly [
      AuthoriseResourceType,
      Partial<Record<Exclude<Role, 'admin'>, readonly Situation[] | 'all'>>,
    ]
  >
> = {
  'person.create': ['person', { directory: ['home'] }],
  'person.update': ['person', { directory: ['home'] }],
  'person.delete': ['person', { directory: ['home'] }],
  'group.create': ['group', { directory: ['home'] }],
  'group.update': ['group', { directory: ['home'] }],
  'group.delete': ['group', { directory: ['home'] }],
  'account.request': ['account', { requester: ['created'] }],
  'account.update': ['account', { requester: keeper }],
  'account.disable': ['account', { requester: keeper, security: 'all' }],
  'account.enable': ['account', { requester: keeper, security: 'all' }],
  'account.retire': ['account', { requester: keeper, security: 'all' }],
  'account.transfer': ['account', { requester: keeper, security: 'all' }],
  'account.passAtOnce': ['account', { security: 'all' }],
  'account.protect': ['account', {}],
  'account.certify': ['account', { owner: theirs }],
  'account.eject': ['account', {}],
  'transfer.accept': ['account', { owner: ['named', 'groupNamed'] }],
  'transfer.decline': ['account', { owner: ['named', 'groupNamed'] }],
  'credential.request': ['credential', { requester: keeper }],
  'credential.update': ['credential', { requester: keeper }],
  'credential.rotate': ['credential', { requester: keeper, security: 'all' }],
  'credential.revoke': ['credential', { requester: keeper, security: 'all' }],
  'owner.leave': ['person', { security: 'all' }],
  'owner.impact': ['person', { security: 'all', auditor: 'all' }],
  'approval.read': ['approval', { security: 'all', auditor: 'all' }],
  'approval.decide': ['approval', { security: 'all' }],
  'brake.read': ['brake', { security: 'all', auditor: 'all' }],
  'brake.release': ['brake', {}],
  'sweep.run': ['sweep', { security: 'all' }],
  'sweep.plan': ['sweep', { security: 'all', auditor: 'all' }],
  'finding.accept': ['finding', { security: 'all' }],
  'finding.adopt': ['finding', { security: 'all' }],
  'finding.revert': ['finding', { security: 'all' }],
  'operation.read': [
    'operation',
    { requester: keeper, owner: theirs, security: 'all', auditor: 'all' },
  ],
  'operation.retry': ['operation', { requester: keeper, security: 'all' }],
  'operation.cancel': ['operation', { security: 'all' }],
  'provider.read': ['provider', { security: 'all', auditor: 'all' }],
  'provider.check': ['provider', { security: 'all', auditor: 'all' }],
  'provider.suspend': ['provider', { security: 'all' }],
  'provider.resume': ['provider', { security: 'all' }],
  'client.create': ['client', {}],
  'client.read': ['client', { security: 'all', auditor: 'all' }],
  'client.revoke': ['client', {}],
  'leak.report': ['tenant', { security: 'all' }],
  'seal.rotate': ['tenant', {}],
  'scimRequest.replay': ['tenant', { security: 'all' }],
  'scimRequest.signOff': ['tenant', { security: 'all' }],
  'directory.move': ['tenant', {}],
  'event.undo': ['tenant', { security: 'all' }],
  'token.introspect': ['token', { verifier: 'all' }],
  'audit.read': ['audit', { security: 'all', auditor: 'all' }],
  'report.read': ['tenant', { security: 'all', auditor: 'all' }],
  'provider.discover': ['provider', { security: 'all', auditor: 'all' }],
  'provider.adopt': ['provider', { security: 'all' }],
  'vendor.close': ['tenant', { security: 'all' }],
  'task.read': ['task', { owner: theirs, security: 'all', auditor: 'all' }],
  'task.evidence': ['task', { owner: theirs, security: 'all' }],
  'task.reopen': ['task', { security: 'all' }],
  'consumer.seen': ['credential', { requester: keeper, owner: theirs }],
  'hook.secret': ['tenant', {}],
  'consumer.waive': ['operation', { owner: theirs, security: 'all' }],
  'directory.check': ['tenant', { security: 'all', auditor: 'all' }],
  'directory.apply': ['tenant', { security: 'all' }],
}

function actorOf(role: Role, change: Partial<AuthoriseActor> = {}): AuthoriseActor {
  return {
    id: 'c1',
    role,
    tenant: 'default',
    directory: 'd1',
    person: 'p1',
    groups: ['g1'],
    ...change,
  }
}

const matrix = roles.flatMap((role) =>
  actions.flatMap((action) => {
    const [type, allowed] = table[action]
    return (situationsOf[type] ?? ['any' as const]).map((situation) => {
      const entry = role === 'admin' ? 'all' : allowed[role]
      const expected = entry === 'all' || (entry?.includes(situation) ?? false)
      return { role, action, type, situation, expected }
    })
  }),
)

describe('who may what', () => {
  it.each(roles)('decides every action and situation for role %s as reviewed', (role) => {
    const rows = matrix.filter((row) => row.role === role)

    const decided = rows.map((row) => ({
      ...row,
      expected:
        authoriser.decide({
          actor: actorOf(role),
          action: row.action,
          resource: { type: row.type, id: 'r1', tenant: 'default', ...situations[row.situation] },
        }).effect === 'permit',
    }))

    expect(decided).toEqual(rows)
    expect(rows.length).toBeGreaterThan(actions.length)
  })

  it.each(roles)('keeps role %s inside its tenant, for every action', (role) => {
    const permitted = matrix
      .filter((row) => row.role === role)
      .filter(
        ({ action, type, situation }) =>
          authoriser.decide({
            actor: actorOf(role),
            action,
            resource: { type, id: 'r1', tenant: 't2', ...situations[situation] },
          }).effect === 'permit',
      )

    expect(permitted).toEqual([])
  })

  it.each(['requester', 'owner'] as const)(
    'gives a %s without a linked person nothing by ownership',
    (role) => {
      const permitted = matrix
        .filter((row) => row.role === role && row.situation !== 'created')
        .filter(
          ({ action, type, situation }) =>
            authoriser.decide({
              actor: actorOf(role, { person: null }),
              action,
              resource: {
                type,
                id: 'r1',
                tenant: 'default',
                ...situations[situation],
                owner: null,
              },
            }).effect === 'permit',
        )

      expect(permitted).toEqual([])
    },
  )

  it.each([
    ['requester', 'account.disable', 'forbid', ['protected-account']],
    ['requester', 'account.retire', 'forbid', ['protected-account']],
    ['requester', 'account.update', 'permit', ['requester-keeps-accounts']],
    ['security', 'account.disable', 'permit', ['security-responds']],
    ['admin', 'account.retire', 'permit', ['admin-governs']],
  ] as const)('lets a %s %s a protected account: %s', (role, action, effect, reasons) => {
    const decision = authoriser.decide({
      actor: actorOf(role),
      action,
      resource: { type: 'account', id: 'a', tenant: 'default', client: 'c1', protected: true },
    })

    expect(decision).toEqual({ effect, reasons })
  })

  it.each([
    'provider.suspend',
    'provider.resume',
    'provider.discover',
    'provider.adopt',
    'seal.rotate',
  ] as const)('keeps %s, which concerns all tenants, for the installation’s own', (action) => {
    const type = action === 'seal.rotate' ? 'tenant' : 'provider'
    const decision = authoriser.decide({
      actor: actorOf('admin', { tenant: 't2' }),
      action,
      resource: { type, id: 'r1', tenant: 't2' },
    })

    expect(decision).toEqual({ effect: 'forbid', reasons: ['shared-provider'] })
  })

  it('names the rules that decided, and none when nothing permitted', () => {
    const resource = { type: 'token', id: 'x', tenant: 'default' } as const
    const decide = (role: Role, tenant = 'default') =>
      authoriser.decide({ actor: actorOf(role, { tenant }), action: 'token.introspect', resource })

    expect(decide('verifier')).toEqual({ effect: 'permit', reasons: ['verifier-introspects'] })
    expect(decide('auditor')).toEqual({ effect: 'forbid', reasons: [] })
    expect(decide('admin', 't2')).toEqual({ effect: 'forbid', reasons: ['tenant-boundary'] })
  })

  it('treats an action on the wrong type of resource as a bug, not as a decision', () => {
    expect(() =>
      authoriser.decide({
        actor: actorOf('admin'),
        action: 'sweep.run',
        resource: { type: 'account', id: 'a', tenant: 'default' },
      }),
    ).toThrow(/sweep\.run on account/)
  })
})

describe('a directory of rules with mistakes', () => {
  let directory = ''
  afterEach(() => rm(directory, { recursive: true, force: true }))

  async function compileWith(files: Record<string, string>): Promise<string> {
    directory = await mkdtemp(path.join(tmpdir(), 'custody-rules-'))
    await cp(shipped, directory, { recursive: true })
    for (const [name, text] of Object.entries(files)) {
      await writeFile(path.join(directory, name), text)
    }
    return compileAuthorisation(directory).then(
      () => 'accepted',
      (error: Error) => `${(error as { code?: string }).code}: ${error.message}`,
    )
  }

  it('names file and line of a rule that does not parse, in every bad file at once', async () => {
    const message = await compileWith({
      'a.cedar': '// ä\npermit (principal, action, resource)\nwhen { principal.role = "x" };\n',
      'b.cedar': 'allow (principal, action, resource);',
    })

    expect(message).toMatch(/^policyInvalid: a\.cedar:3: .*==/)
    expect(message).toMatch(/^b\.cedar:1: /m)
  })

  it.each([
    ['an attribute', 'when { principal.roel == "admin" }', /x\.cedar:2: .*roel/],
    ['an action', 'when { action == Action::"account.dsable" }', /x\.cedar:2: .*account\.dsable/],
  ])('refuses %s that the schema does not know', async (_, when, expected) => {
    const message = await compileWith({
      'x.cedar': `permit (principal, action, resource)\n${when};`,
    })

    expect(message).toMatch(expected)
  })

  it('refuses two rules in one file, since the file name is the reason', async () => {
    const rule = 'permit (principal, action, resource);'

    expect(await compileWith({ 'x.cedar': `${rule}\n${rule}` })).toContain(
      'x.cedar:1: holds 2 rules',
    )
  })

  it('refuses a schema of an older version, which would answer 500 for what is new', async () => {
    const schema = await readFile(path.join(shipped, 'schema.cedarschema'), 'utf8')
    const older = schema.replace('"account.eject", ', '').replace('"account.eject",', '')

    expect(await compileWith({ 'schema.cedarschema': older })).toMatch(
      /schema\.cedarschema:1: has no action "account\.eject"; take this file from the version/,
    )
  })

  it('refuses a broken schema and a directory that is not there', async () => {
    expect(await compileWith({ 'schema.cedarschema': 'entity A;\nentity {' })).toMatch(
      /schema\.cedarschema:2: /,
    )
    await expect(compileAuthorisation('/nowhere')).rejects.toMatchObject({ code: 'policyInvalid' })
  })

  it.each([
    ['(principal, action, resource == Account::"a1")', ''],
    ['(principal, action, resource)', 'when { resource == Account::"a1" }'],
    ['(principal, action, resource)', 'when { Account::"a1" == resource }'],
    ['(principal, action, resource is Account)', 'when { [Account::"a1"].contains(resource) }'],
    ['(principal, action, resource is Account)', 'when { !(resource != Account::"a1") }'],
    [
      '(principal, action, resource)',
      'when { (if true then resource else resource) == Account::"a1" }',
    ],
  ])(
    'decides each resource by itself where a rule asks which one it is: %s %s',
    async (head, when) => {
      await compileWith({ 'x.cedar': `permit ${head}\n${when};` })
      const compiled = await compileAuthorisation(directory)
      const actor = actorOf('owner', { person: null })
      const effects = ['a1', 'a2', 'a1'].map((id) => {
        const resource = { type: 'account', id, tenant: 'default' } as const
        return compiled.decide({ actor, action: 'account.update', resource }).effect
      })

      expect(effects).toEqual(['permit', 'forbid', 'permit'])
    },
  )

  it('takes a new version when any rule changes', async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'custody-rules-'))
    await cp(shipped, directory, { recursive: true })
    const file = path.join(directory, 'verifier-introspects.cedar')
    await writeFile(file, `${await readFile(file, 'utf8')}\n// note\n`)

    const changed = await compileAuthorisation(directory)

    expect(changed.version).not.toBe(authoriser.version)
    expect(changed.rules).toEqual(authoriser.rules)
  })
})
