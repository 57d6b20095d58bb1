import type { Body } from './api.ts'
import { must } from './failure.ts'
import { hold, iamUserOf, secretName } from './judge.ts'
import { after, seconds } from './show.ts'
import type { Stage } from './stage.ts'
import { eachOf } from './stage.ts'

export const nhiUrn = 'urn:custody:scim:schemas:extension:nhi:1.0:User'
export const userUrn = 'urn:ietf:params:scim:schemas:core:2.0:User'
export const patchUrn = 'urn:ietf:params:scim:api:messages:2.0:PatchOp'

export interface Person {
  readonly id: string
  readonly name: string
  readonly userName: string
}

export type AccountKind = 'access-key' | 'deploy-key' | 'app-token' | 'api-token' | 'password'

export interface Account {
  readonly id: string
  readonly userName: string
  readonly kind: AccountKind
  readonly owner: Person
  readonly credential: string
  /** In its sink. */
  readonly path: string
  /** Where a deploy key is registered. */
  readonly repository: string
}

const names =
  'Ada Lindqvist,Bao Tran,Carla Moretti,Dmitri Volkov,Esra Demir,Femi Adeyemi,Greta Holm,Hugo Marchand,Ines Duarte,Jonas Keller,Kirra Walsh,Luca Bianchi,Mei Tanaka,Noor Haddad,Oskar Nowak,Priya Raman,Quentin Dubois,Rosa Jimenez,Sven Aalto,Tara Quinn,Umar Siddiqui,Vera Novak,Wim Janssen,Ximena Rojas,Yusuf Kaya,Zofia Lewandowska,Anton Berg,Bella Ferrari,Chen Wei,Daria Popescu,Emil Sorensen,Farah Aziz,Gabriel Costa,Hana Kim,Ivan Petrov,Julia Roth,Kofi Mensah,Lena Vogel,Marco Silva,Nadia Rahman'.split(
    ',',
  )
const services =
  'webshop billing audit search mailer reports backup etl images invoices ledger login maps metrics notify orders payroll pricing queue rates refunds returns routing scans sessions shipping stock surveys tax tickets tours translate uploads vault video voice warehouse webhooks wiki workflow'.split(
    ' ',
  )
const repositories = ['website', 'deploy', 'billing']
const atOnce = 8
/** Between two looks at the whole list, which costs the service more than one account does. */
const listMilliseconds = 100

/** Who leaves later; their places in the list of names. */
export const leavers = { alone: [4, 15], withBackup: 9, backup: 10 } as const

/** As Okta sends people: a look-up by userName, then the whole person. */
export async function pushPeople(stage: Stage) {
  const { directory, requester, show } = stage
  let requests = 0
  const people = await eachOf(names, atOnce, async (name, i): Promise<Person> => {
    show.progress(`pushing people: ${i} of ${names.length}`)
    const [givenName, familyName] = name.split(' ')
    const userName = `${name.toLowerCase().replace(' ', '.')}@acme.example`
    const filter = encodeURIComponent(`userName eq "${userName}"`)
    const found = await directory.call(
      200,
      'GET',
      `/scim/v2/Users?filter=${filter}&startIndex=1&count=100`,
    )
    must(found.totalResults === 0, `${userName} is there before it was pushed`)
    const person = await directory.call(201, 'POST', '/scim/v2/Users', {
      schemas: [userUrn],
      userName,
      name: { givenName, familyName },
      emails: [{ primary: true, value: userName, type: 'work' }],
      displayName: name,
      locale: 'en-US',
      externalId: `00u${String(i + 1).padStart(17, '0')}`,
      groups: [],
      active: true,
    })
    requests += 2
    return { id: person.id as string, name, userName }
  })
  const listed = await directory.call(200, 'GET', '/scim/v2/Users?startIndex=1&count=1')
  must(
    listed.totalResults === names.length,
    `the directory sees ${listed.totalResults} people, not ${names.length}`,
  )
  show.fact('pushed', `${listed.totalResults} people in ${requests} requests, Okta's dialect`)

  const before = await requester.call(200, 'GET', '/api/v1/accounts')
  const refused = await requester.ask('POST', '/scim/v2/Users', {
    ...accountBody('typo', people[0]!, 'access-key', 0),
    [nhiUrn]: { kind: 'serviceAccount', ownr: { value: people[0]!.id }, purpose: 'a typing error' },
  })
  const afterwards = await requester.call(200, 'GET', '/api/v1/accounts')
  must(refused.status === 400, `a misspelled attribute was answered with ${refused.status}`)
  must(
    before.items.length === 0 && afterwards.items.length === 0,
    'the refused request left an account behind',
  )
  const refusal = {
    status: refused.status,
    scimType: String(refused.body.scimType),
    detail: String(refused.body.detail),
    request: refused.request,
  }
  show.fact('refused', 'POST /scim/v2/Users with "ownr" instead of "owner"; nothing was written:')
  show.fact('', `${refusal.status} ${refusal.scimType}: ${refusal.detail}`)
  return { people, facts: { people: people.length, requests, refusal } }
}

function accountBody(userName: string, owner: Person, kind: AccountKind, i: number) {
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
      scopes: [
        `repository:acme/${repositories[i % repositories.length]}`,
        'permission:contents=read',
      ],
      deliverTo: `files:${path}`,
    },
    'api-token': { provider: 'tokens', scopes: ['orders.read'], deliverTo: `files:${path}` },
    password: { provider: 'postgres', scopes: [], deliverTo: `files:${path}` },
  }[kind]
  return {
    schemas: [userUrn, nhiUrn],
    userName,
    [nhiUrn]: {
      kind: 'serviceAccount',
      owner: { value: owner.id },
      purpose: `runs ${userName}`,
      consumers: [{ name: 'app' }],
      credentials: [{ kind, ...credential }],
    },
  }
}

const suffixes: Readonly<Record<AccountKind, string>> = {
  'access-key': 'aws',
  'deploy-key': 'git',
  'app-token': 'ci',
  'api-token': 'api',
  password: 'db',
}

interface Wish {
  /** Of the owner, in the list of people. */
  readonly place: number
  readonly kind: AccountKind
}

/** Three accounts for everybody, a login of the database for some, a token of GitHub for others. */
function wishes(stage: Stage, people: readonly Person[]): readonly Wish[] {
  const all = (kind: AccountKind, every = 1, first = 0) =>
    people.flatMap((_, place) => (place % every === first ? [{ place, kind }] : []))
  return [
    ...(['access-key', 'deploy-key', 'api-token'] as const).flatMap((kind) => all(kind)),
    ...all('app-token', 5),
    ...(stage.postgres ? all('password', 2) : []),
  ]
}

async function requestAccount(
  stage: Stage,
  people: readonly Person[],
  { place, kind }: Wish,
): Promise<{ readonly account: Account; readonly body: Body }> {
  const owner = people[place]!
  const userName = `${services[place]}-${suffixes[kind]}`
  const body = accountBody(userName, owner, kind, place)
  const nhi = body[nhiUrn] as Record<string, unknown>
  if (place === leavers.withBackup) nhi['backupOwners'] = [{ value: people[leavers.backup]!.id }]
  const created = await stage.requester.call(201, 'POST', '/scim/v2/Users', body)
  const account: Account = {
    id: created.id as string,
    userName,
    kind,
    owner,
    credential: created[nhiUrn].credentials[0].value as string,
    path: `${userName}/${kind}`,
    repository: repositories[place % repositories.length]!,
  }
  return { account, body }
}

/** One request shown from body to living key, then the other accounts of the company. */
export async function requestAccounts(stage: Stage, people: readonly Person[]) {
  const { show } = stage
  const since = performance.now()
  const [wish, ...rest] = wishes(stage, people)
  const { account: first, body } = await requestAccount(stage, people, wish!)
  const nhi = body[nhiUrn]
  const [wanted] = nhi.credentials
  show.fact('request', `POST /scim/v2/Users  userName "${first.userName}", ${nhi.kind}`)
  show.fact('', `owner ${first.owner.name}, purpose "${nhi.purpose}"`)
  show.fact('', `one ${wanted.kind} of ${wanted.provider}, deliver to ${wanted.deliverTo}`)
  await untilActive(stage, 1)
  const user = iamUserOf(stage, first)
  must(user.boundary !== null, `IAM user ${user.userName} has no permissions boundary`)
  show.fact('IAM user', `${user.path}${user.userName}`)
  show.fact('', `tags ${Object.keys(user.tags).join(', ')}`)
  show.fact('', `boundary ${user.boundary}`)
  const held = await hold(stage, first)
  must((await held.verdict()) === 'alive', `the delivered key ${held.keyId} is refused`)
  const elapsed = (performance.now() - since) / 1_000
  show.fact('delivered', `AWSCURRENT of ${secretName(first)}`)
  show.fact('tried', `${held.keyId} at STS: accepted, ${after(elapsed)} after the request`)
  held.close()

  const total = rest.length + 1
  const started = performance.now()
  const others = await eachOf(rest, atOnce, async (next, i) => {
    show.progress(`requesting service accounts: ${i + 1} of ${total}`)
    return (await requestAccount(stage, people, next)).account
  })
  await untilActive(stage, total)
  const made = (performance.now() - started) / 1_000
  const accounts = [first, ...others]
  const judged = await judge(stage, accounts)
  must(
    judged.alive === total,
    `${total - judged.alive} of ${total} credentials are not alive at their providers`,
  )
  const count = (kind: AccountKind) => accounts.filter((a) => a.kind === kind).length
  const kinds = {
    accessKeys: count('access-key'),
    deployKeys: count('deploy-key'),
    tokens: count('api-token'),
    logins: count('password'),
    appTokens: count('app-token'),
  }
  show.fact(
    `${others.length} more`,
    `requested, minted, delivered and verified in ${seconds(made)}`,
  )
  show.fact(
    'judged',
    `${kinds.accessKeys} access keys used at STS, ${kinds.tokens} tokens introspected, ${kinds.appTokens} installation tokens used at GitHub, ${kinds.logins} logins tried at PostgreSQL, ${kinds.deployKeys} deploy keys found at GitHub by the public half of the file delivered`,
  )
  show.fact('', `${judged.alive} of ${total} alive`)
  const facts = {
    shown: {
      userName: first.userName,
      iamUser: user.userName,
      tags: user.tags,
      boundary: user.boundary,
      secret: secretName(first),
      keyId: held.keyId,
      verdict: 'alive',
      seconds: elapsed,
    },
    accounts: total,
    alive: judged.alive,
    ...kinds,
    seconds: made,
  }
  return { accounts, facts }
}

async function untilActive(stage: Stage, total: number): Promise<void> {
  const count = async (): Promise<number> => {
    const page = await stage.requester.call(200, 'GET', '/api/v1/accounts?limit=200')
    const statuses = (page.items as readonly Body[]).map((item) => String(item.status))
    must(!statuses.includes('failed'), 'an account could not be provisioned')
    const active = statuses.filter((status) => status === 'active').length
    stage.show.progress(`minting, delivering and verifying: ${active} of ${total}`)
    return active
  }
  await stage.until(
    `${total} accounts active`,
    count,
    (active) => active >= total,
    listMilliseconds,
  )
}

/** Tries what is in the sinks now, each credential once. */
export async function judge(stage: Stage, accounts: readonly Account[]) {
  let tried = 0
  const judged = await eachOf(accounts, atOnce, async (account) => {
    stage.show.progress(`trying credentials: ${++tried} of ${accounts.length}`)
    const held = await hold(stage, account)
    const verdict = await held.verdict()
    held.close()
    return { verdict, keyId: held.keyId }
  })
  return {
    alive: judged.filter(({ verdict }) => verdict === 'alive').length,
    keyIds: judged.map(({ keyId }) => keyId),
  }
}
