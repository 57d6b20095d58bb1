import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Body } from './api.ts'
import type { Person } from './company.ts'
import { nhiUrn, patchUrn, pushPeople, userUrn } from './company.ts'
import { must } from './failure.ts'
import { makeForeignKey, makeUserByHand, widenByHand } from './foreign.ts'
import type { Stage } from './stage.ts'
import { eachOf } from './stage.ts'

/** How large the made-up company is. */
export interface HouseSize {
  readonly accounts: number
  readonly expired: number
  /** People of whom the directory lets go at once, beyond what it may. */
  readonly mad: number
  /** Long enough for keys to be made, short enough to be over while somebody looks around. */
  readonly endsAfterMs: number
}

export const wholeHouse: HouseSize = { accounts: 250, expired: 12, mad: 12, endsAfterMs: 20_000 }
export const smallHouse: HouseSize = { accounts: 30, expired: 2, mad: 8, endsAfterMs: 10_000 }

const enterpriseUrn = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User'
const groupUrn = 'urn:ietf:params:scim:schemas:core:2.0:Group'
/** IAM users made by hand, long ago. */
const legacy: Readonly<Record<string, string>> = {
  'legacy-backup': 'copies the file server, made by hand in 2019',
  'jenkins-old': 'builds of the shop before it moved to GitHub',
  'partner-upload': 'a partner drops price lists here',
}
const bulkUrn = 'urn:ietf:params:scim:api:messages:2.0:BulkRequest'
/** One by one they would be more than a client may send in a second. */
const bulkSize = 25
const bulksAtOnce = 2
/** So many are a first screen; the others come while one looks. */
const firstAccounts = 100
const atOnce = 12
/** A slow machine may take its time: the console is open meanwhile. */
const patienceMilliseconds = 120_000
const dayMs = 86_400_000

const services: readonly (readonly [name: string, team: string, purpose: string])[] = [
  ['webshop', 'storefront', 'serves product pages and carts'],
  ['billing', 'finance', 'writes invoices at the end of the month'],
  ['search', 'storefront', 'keeps the product index fresh'],
  ['mailer', 'crm', 'sends order confirmations'],
  ['reports', 'finance', 'fills the revenue dashboard'],
  ['backup', 'platform', 'copies databases to cold storage each night'],
  ['etl', 'data', 'loads orders into the warehouse'],
  ['images', 'storefront', 'resizes what photographers upload'],
  ['ledger', 'finance', 'posts bookings to the ledger'],
  ['metrics', 'platform', 'ships metrics of all clusters'],
  ['orders', 'fulfilment', 'hands orders to the warehouses'],
  ['payroll', 'people', 'exports hours for the payroll run'],
  ['pricing', 'storefront', 'computes prices by country'],
  ['refunds', 'crm', 'pays back what was returned'],
  ['shipping', 'fulfilment', 'prints labels and tracks parcels'],
  ['stock', 'fulfilment', 'counts what is on the shelves'],
  ['tickets', 'crm', 'opens tickets from mail'],
  ['translate', 'storefront', 'translates product texts'],
  ['vault-sync', 'platform', 'keeps two regions alike'],
  ['warehouse', 'data', 'answers questions of analysts'],
]
const kinds = ['api-token', 'access-key', 'deploy-key', 'api-token', 'app-token'] as const
const suffixes = { 'api-token': 'api', 'access-key': 'aws', 'deploy-key': 'git', 'app-token': 'ci' }
const environments = ['prod', 'prod', 'staging', 'dev'] as const
const repositories = ['website', 'deploy', 'billing']

/** Who leaves, by place in the list of people: three for good, one of them with a backup. */
const leaving = [4, 15, 9]
const backupOf = 10
/** From here on people belong to the batch of the directory gone mad. */
const madFrom = 24

interface Company {
  readonly people: readonly Person[]
  /** By the name of the team. */
  readonly groups: ReadonlyMap<string, string>
}

export interface House extends Company {
  /** Asked for so far. */
  readonly accounts: number
}

/** What the first screen needs: people, and accounts whose keys are being made. */
export async function furnishHouse(stage: Stage, size: HouseSize): Promise<House> {
  for (const name of Object.keys(legacy).slice(1)) makeUserByHand(stage, name)
  const quiet = { ...stage, show: { ...stage.show, fact: () => undefined } }
  const { people } = await pushPeople(quiet)
  const groups = await pushGroups(stage, people)
  const company = { people, groups }
  const asked = await requestSome(stage, company, size, 0, Math.min(firstAccounts, size.accounts))
  return { ...company, accounts: asked }
}

/** Those from the first to the one before the last. @returns how many there are now */
async function requestSome(
  stage: Stage,
  company: Company,
  size: HouseSize,
  first: number,
  last: number,
): Promise<number> {
  const bulks = Array.from({ length: Math.ceil((last - first) / bulkSize) }, (_, i) => {
    const from = first + i * bulkSize
    const count = Math.min(bulkSize, last - from)
    return Array.from({ length: count }, (__, n) => accountBody(from + n, company, size))
  })
  let asked = first
  await eachOf(bulks, bulksAtOnce, async (bulk) => {
    await requestAll(stage, bulk)
    asked += bulk.length
    stage.show.progress(`requesting service accounts: ${asked} of ${size.accounts}`)
  })
  return asked
}

async function requestAll(stage: Stage, bodies: readonly object[]): Promise<void> {
  const answer = await stage.requester.call(200, 'POST', '/scim/v2/Bulk', {
    schemas: [bulkUrn],
    Operations: bodies.map((data, i) => ({
      method: 'POST',
      path: '/Users',
      bulkId: `a${i}`,
      data,
    })),
  })
  const refused = (answer.Operations as readonly Body[]).find(({ status }) => status !== '201')
  must(refused === undefined, `an account was refused: ${refused?.response?.detail}`)
}

/** The directory's teams; one in ten accounts belongs to a team, not to a person. */
async function pushGroups(stage: Stage, people: readonly Person[]) {
  const teams = [...new Set(services.map(([, team]) => team))]
  const ids = await Promise.all(
    teams.map(async (team, t): Promise<readonly [team: string, id: string]> => {
      const members = people.filter((_, i) => i % teams.length === t)
      const group = await stage.directory.call(201, 'POST', '/scim/v2/Groups', {
        schemas: [groupUrn],
        displayName: team,
        externalId: `00g${team}`,
        members: members.map(({ id }) => ({ value: id })),
      })
      return [team, group.id as string]
    }),
  )
  return new Map(ids)
}

/** The first of every team leads it. */
async function nameManagers(stage: Stage, people: readonly Person[]): Promise<void> {
  const teams = new Set(services.map(([, team]) => team)).size
  await eachOf(people.slice(teams), atOnce, ({ id }, i) =>
    stage.directory.call(200, 'PATCH', `/scim/v2/Users/${id}`, {
      schemas: [patchUrn],
      Operations: [
        {
          op: 'add',
          path: `${enterpriseUrn}:manager`,
          value: { value: people[(i + teams) % teams]!.id },
        },
      ],
    }),
  )
}

function accountBody(i: number, { people, groups }: Company, size: HouseSize) {
  const [name, team, purpose] = services[i % services.length]!
  const round = Math.floor(i / services.length)
  const kind = kinds[(i + round) % kinds.length]!
  const environment = environments[(i + round) % environments.length]!
  const userName = `${name}-${environment}-${suffixes[kind]}${round === 0 ? '' : `-${round + 1}`}`
  const place = (i * 7) % people.length
  const backup =
    leaving.includes(place) && place !== leaving[2] ? null : (place + 1) % people.length
  const isExpired = i % Math.floor(size.accounts / size.expired) === 3 && i < size.accounts
  const path = `${userName}/${kind}`
  const credential = {
    'access-key': {
      provider: 'aws-prod',
      scopes: ['secretsmanager:GetSecretValue on arn:aws:secretsmanager:*:*:secret:app/*'],
      deliverTo: `aws-secrets:${path}`,
    },
    'deploy-key': {
      provider: 'github-acme',
      scopes: [`repo:acme/${repositories[i % repositories.length]}`],
      deliverTo: `files:${path}`,
    },
    'app-token': {
      provider: 'github-acme',
      scopes: [`repository:acme/${repositories[i % 3]}`, 'permission:contents=read'],
      deliverTo: `files:${path}`,
    },
    'api-token': { provider: 'tokens', scopes: ['orders.read'], deliverTo: `files:${path}` },
  }[kind]
  return {
    schemas: [userUrn, nhiUrn],
    userName,
    [nhiUrn]: {
      kind: i % 11 === 0 ? 'bot' : i % 17 === 0 ? 'agent' : 'serviceAccount',
      owner:
        i % 10 === 7
          ? { value: groups.get(team)!, type: 'Group' }
          : { value: people[place]!.id, type: 'User' },
      ...(backup === null || i % 3 === 0
        ? {}
        : { backupOwners: [{ value: people[place === leaving[2] ? backupOf : backup]!.id }] }),
      purpose,
      environment,
      labels: [`team=${team}`, `service=${name}`],
      expiresAt: endOf(i, isExpired ? size.endsAfterMs : null),
      consumers: [{ name, kind: 'service' }],
      credentials: [{ kind, ...credential }],
    },
  }
}

/** Spread over the year, a good part within days; what has expired ends seconds after it is there. */
function endOf(i: number, endsAfterMs: number | null): string {
  const days = i % 9 === 0 ? 1 + (i % 13) : 15 + ((i * 37) % 340)
  return new Date(Date.now() + (endsAfterMs ?? days * dayMs)).toISOString()
}

/** What makes it a company on a Monday morning: leavers, a mad directory, trouble, findings. */
export async function liveInHouse(stage: Stage, house: House, size: HouseSize): Promise<void> {
  const { admin, show } = stage
  const { people } = house
  await requestSome(stage, house, size, house.accounts, size.accounts)
  const endsAt = Date.now() + size.endsAfterMs
  show.progress('the directory names managers; keys are being made')
  await nameManagers(stage, people)
  await untilSettled(stage, size.accounts)
  show.progress('consumers call; a directory sends what cannot be read')
  const stay = staying(people, size)
  await useSome(stage, stay)
  await oddRequests(stage, people)
  await transfers(stage, people)
  show.progress('users made by hand are adopted, to be watched')
  await adoptSome(stage, people[0]!)
  show.progress('somebody works by hand at AWS')
  const keys = await someKeys(stage, stay)
  await handwork(stage, keys)
  await admin.ask('POST', '/api/v1/sweeps/reconcile')
  show.progress('three people leave')
  for (const place of leaving) await say(stage, people[place]!, false)
  for (const place of leaving.slice(0, 2)) await untilDead(stage, people[place]!)
  show.progress('too many people leave at once')
  for (const person of people.slice(madFrom, madFrom + size.mad)) await say(stage, person, false)
  show.progress('accounts end')
  const over = Math.max(0, endsAt - Date.now() + 500)
  await sleep(over, undefined, { signal: stage.signal })
  await admin.call(200, 'POST', '/api/v1/sweeps/expiry')
  await blockRevocation(stage, keys)
}

async function untilDead(stage: Stage, person: Person): Promise<void> {
  await stage.until(
    `the keys of ${person.name} proven dead`,
    () => stage.admin.ask('GET', `/api/v1/reports/offboarding/${person.id}`),
    ({ body }) => body?.verdict === 'complete',
    250,
    { patienceMilliseconds },
  )
}

async function untilSettled(stage: Stage, total: number): Promise<void> {
  const settledOf = async (): Promise<number> => {
    const { accounts } = await stage.admin.call(200, 'GET', '/api/v1/reports/posture')
    const { requested = 0, provisioning = 0 } = accounts.byStatus as Record<string, number>
    return accounts.total - requested - provisioning
  }
  await stage.until('the accounts to be there', settledOf, (n) => n >= total, 150, {
    patienceMilliseconds,
  })
}

/**
 * Consumers call with a few of the tokens, so that there is a last use to show; none of those who
 * leave, for what prod used today is kept up for hours by the shipped policy.
 */
async function useSome(stage: Stage, stay: ReadonlySet<string>): Promise<void> {
  const { items } = await stage.admin.call(200, 'GET', '/api/v1/accounts?status=active&limit=200')
  const used = (items as readonly Body[])
    .filter(({ userName, owner }) => String(userName).includes('-api') && stay.has(owner.id))
    .slice(0, 40)
  await eachOf(used, atOnce, async ({ userName }) => {
    const file = path.join(stage.home, 'secrets', 'default', String(userName), 'api-token')
    const token = (await readFile(file, 'utf8').catch(() => '')).trim()
    if (token !== '') {
      await stage.verifier.call(200, 'POST', '/oauth2/introspect', new URLSearchParams({ token }))
    }
  })
}

async function say(stage: Stage, person: Person, active: boolean): Promise<void> {
  await stage.directory.call(200, 'PATCH', `/scim/v2/Users/${person.id}`, {
    schemas: [patchUrn],
    Operations: [{ op: 'replace', value: { active } }],
  })
}

function staying(people: readonly Person[], size: HouseSize): ReadonlySet<string> {
  const isMad = (i: number): boolean => i >= madFrom && i < madFrom + size.mad
  return new Set(people.filter((_, i) => !leaving.includes(i) && !isMad(i)).map(({ id }) => id))
}

/** Accounts at AWS that work, of people who stay: what the trouble is made of. */
async function someKeys({ admin }: Stage, stay: ReadonlySet<string>): Promise<readonly Body[]> {
  const { items } = await admin.call(200, 'GET', '/api/v1/accounts?status=active&limit=200')
  const fitting = (items as readonly Body[]).filter(
    ({ userName, owner, expiresAt }) =>
      isAwsName(String(userName)) &&
      stay.has(owner.id) &&
      Date.parse(expiresAt) > Date.now() + dayMs,
  )
  return Promise.all(
    fitting.slice(0, 3).map(({ id }) => admin.call(200, 'GET', `/api/v1/accounts/${id}`)),
  )
}

function isAwsName(userName: string): boolean {
  return /-aws(-\d+)?$/.test(userName)
}

/** A key that nobody knows stops a rotation until somebody decides; a user may do too much. */
async function handwork(stage: Stage, [rotated, , widened]: readonly Body[]): Promise<void> {
  if (widened) widenByHand(stage, iamUserOf(widened))
  if (!rotated) return
  makeForeignKey(stage, iamUserOf(rotated))
  await stage.admin.ask('POST', `/api/v1/credentials/${rotated.credentials[0].id}/rotate`)
}

/** The last thing that is done: AWS deletes no key from now on, and is left in peace after a while. */
async function blockRevocation(stage: Stage, [, revoked]: readonly Body[]): Promise<void> {
  if (!revoked) return
  stage.aws.faults.arm('DeleteAccessKey', { kind: 'serverError', effect: false }, 10_000)
  const why = { reason: 'found in a public repository' }
  await stage.admin.ask('POST', `/api/v1/credentials/${revoked.credentials[0].id}/revoke`, why)
}

function iamUserOf(account: Body): string {
  return JSON.parse(account.principals[0].external).userName
}

/** Requests as real directories send them on a bad day: the log tells why each failed. */
async function oddRequests(stage: Stage, people: readonly Person[]): Promise<void> {
  const { directory, requester } = stage
  const [first, second] = people
  await directory.ask('POST', '/scim/v2/Users', { schemas: [userUrn], userName: first!.userName })
  await directory.ask('PATCH', `/scim/v2/Users/${second!.id}`, {
    schemas: [patchUrn],
    Operations: [{ op: 'replace', path: 'emails[type eq "work"', value: 'x' }],
  })
  await directory.ask('GET', '/scim/v2/Users?filter=userName%20is%20%22ada%22')
  await requester.ask('POST', '/scim/v2/Users', {
    schemas: [userUrn, nhiUrn],
    userName: 'typo-prod-api',
    [nhiUrn]: { kind: 'serviceAccount', ownr: { value: first!.id }, purpose: 'a typing error' },
  })
}

async function transfers(stage: Stage, people: readonly Person[]): Promise<void> {
  const { items } = await stage.admin.call(
    200,
    'GET',
    `/api/v1/accounts?owner=${people[0]!.id}&limit=2`,
  )
  for (const { id } of items as readonly Body[]) {
    await stage.admin.ask('POST', `/api/v1/accounts/${id}/transfer`, { owner: people[1]!.id })
  }
}

/** Users that were there before Custody came are adopted; policy only watches such. */
async function adoptSome(stage: Stage, owner: Person): Promise<void> {
  let cursor: string | null = ''
  while (cursor !== null) {
    const from: string = cursor === '' ? '' : `?cursor=${cursor}`
    const page: Body = await stage.admin.call(
      200,
      'GET',
      `/api/v1/providers/aws-prod/discovery${from}`,
    )
    const entries = (page.items as readonly Body[])
      .filter((thing) => nameOf(thing) in legacy && !thing.managed)
      .map((thing) => ({
        external: thing.external,
        owner: owner.id,
        userName: nameOf(thing),
        purpose: legacy[nameOf(thing)],
        environment: 'prod',
        labels: ['team=platform'],
      }))
    if (entries.length > 0) {
      await stage.admin.call(200, 'POST', '/api/v1/providers/aws-prod/adopt', { entries })
    }
    cursor = page.cursor
  }
}

/** Without IAM's path. */
function nameOf(thing: Body): string {
  return String(thing.name).split('/').at(-1)!
}
