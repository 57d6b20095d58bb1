// What every setting and variable means, and its default: the words of docs/reference/configuration.md.
import { defaultPath, standardOwnerTags } from '../providers/aws-iam/config.ts'
import { boundaryPolicyName } from '../providers/aws-iam/policies.ts'
import { permissionsByDefault } from '../providers/github/app-token-scopes.ts'
import { limitsByDefault } from '../providers/github/budget.ts'

/** What a setting means, then its default: none for what is required or has one in its schema. */
type Saying = readonly [meaning: string, standard?: string]
export type Sayings = Readonly<Record<string, Saying>>

export interface Section {
  /** One line or two before the table. */
  readonly says: string
  readonly keys: Sayings
}

export const code = (text: string): string => `\`${text}\``

export const fileKeys: Sayings = {
  'listen.host': ['The address it listens on.', '`127.0.0.1`'],
  'listen.port': ['Its port. 0 takes any that is free.', '`8080`'],
  publicUrl: [
    'The base of every address that Custody hands out: http or https, without query. Set it behind a proxy.',
    'the address bound',
  ],
  'store.url': [
    '`sqlite:FILE`, `sqlite::memory:`, or `postgres://user:password@host/database` ([PostgreSQL](postgresql.md)). A password is better in `CUSTODY_STORE_URL_FILE`.',
    '`sqlite:custody.db` in `.custody`',
  ],
  policies: [
    'A directory with `lifecycle.yaml`, `authorisation/` and, if there, `templates/` ([how to](../how-to/write-a-policy.md)).',
    'the rules that come with Custody',
  ],
  logLevel: ['The least that is logged ([logs](logs.md)).', '`info`'],
  providers: ['Where credentials live.', 'one of type `token`, named `tokens`'],
  'providers[].name': [
    'How accounts name it. Lower case letters, digits and `-`, at most 63. Unique in its list.',
  ],
  'providers[].type': ['A type [below](#providers), or a package such as `@acme/custody-x`.'],
  'providers[].config': ['The settings of its type.', '`{}`'],
  sinks: [
    'Where consumers read their secrets.',
    'one of type `file`, named `files`, in `.custody/secrets`',
  ],
  'sinks[].name': ['How accounts name it. As for providers.'],
  'sinks[].type': ['A type [below](#sinks), or a package.'],
  'sinks[].config': ['The settings of its type.', '`{}`'],
  'hooks.allow': [
    'Host names, addresses and ranges that reload hooks may call although they are not on the internet. Only what is named here may be called by plain http. At most 100.',
    'none',
  ],
  directories: ['Where people can be looked up as they really are.', 'none'],
  'directories[].name': ['The directory as SCIM clients name it. As for providers.'],
  'directories[].type': ['A type [below](#directories).'],
  'directories[].config': ['The settings of its type.', '`{}`'],
  'shutdown.drain': [
    'How long to go on serving after SIGTERM while `/readyz` refuses, as a duration. At most `PT5M`.',
    '`PT2S` if somebody asked `/readyz` within the last minute, else nothing',
  ],
}

const awsConnection: Sayings = {
  endpoint: ['One endpoint for all services of AWS: the sandbox or a proxy.', "AWS's own"],
  'credentials.accessKeyId': ['The access key Custody itself signs with.', "the SDK's chain"],
  'credentials.secretAccessKey': ['Its secret. Better in a file.', 'none'],
  'credentials.secretAccessKeyFile': ['A file that holds its secret. Read at start.', 'none'],
}
const aboutCredentials =
  '`credentials` takes the id and exactly one of the other two. Without it the SDK looks where it always does: `AWS_ACCESS_KEY_ID` and the like, `AWS_PROFILE`, the role of the container or machine.'

const githubConnection: Sayings = {
  baseUrl: [
    'The REST API. https, plain http only on this machine. GitHub Enterprise Server: `https://HOST/api/v3`.',
    '`https://api.github.com`',
  ],
  appId: ['Id of the GitHub App, or its client id.'],
  installationId: ['Id of its installation in the organisation.'],
  privateKeyFile: ["A file with the App's private key (PEM). Read at start."],
  timeout: ['Of one request.', '`PT10S`'],
  'budget.creationsPerMinute': [
    'Requests of one process for this App that create something, in a minute.',
    code(String(limitsByDefault.creationsPerMinute)),
  ],
  'budget.creationsPerHour': [
    'The same in an hour.',
    code(String(limitsByDefault.creationsPerHour)),
  ],
  'budget.pointsPerMinute': [
    'A read costs 1 point, a write 5. Revocations are counted and never held back.',
    code(String(limitsByDefault.pointsPerMinute)),
  ],
  'budget.concurrent': ['Requests under way at once.', code(String(limitsByDefault.concurrent))],
}

const secretFormat: Saying = [
  'How [access keys are written](../how-to/consume-a-secret.md#what-an-access-key-looks-like). Everything else is delivered as it is.',
  '`custody`',
]

export const providers: Readonly<Record<string, Section>> = {
  'aws-iam': {
    says: `IAM users with access keys, and federated roles. ${aboutCredentials}`,
    keys: {
      region: ['Where STS is asked, and which partition of AWS it is. IAM itself is global.'],
      ...awsConnection,
      path: [
        'Path of the users, roles and policies that Custody makes. Begins and ends with `/`.',
        code(defaultPath),
      ],
      settle: ['How long listings may lag. Before that, absence proves nothing.', '`PT15S`'],
      lastUsedLag: [
        'How late IAM may report the last use. The old key of a rotation has to be quiet for longer.',
        '`PT4H`',
      ],
      'probe.count': ['Equal answers until a key counts as working or dead.', '`5`'],
      'probe.every': ['Time between two tries.', '`PT2S`'],
      'probe.regions': [
        'Regions where STS is asked whether a key works, one after the other.',
        '`region` and another of its partition, with `endpoint` only `region`',
      ],
      'assumeRole.roleArn': ['The role Custody acts in, by the credentials it has.', 'none'],
      'assumeRole.externalId': ["The external id that the role's trust policy asks for.", 'none'],
      'assumeRole.duration': ['Length of a session, from `PT15M` to `PT12H`.', '`PT15M`'],
      boundaryArn: [
        "A managed policy that is put on users and roles as permissions boundary instead of Custody's.",
        `${code(boundaryPolicyName)} under \`path\`, made by Custody`,
      ],
      allowedPolicies: [
        'Managed policies that a scope `policy:…` may name: ARNs, or `path/name` in this account.',
        'none',
      ],
      discovery: ['Whether users that others made are looked for, to be adopted.', '`true`'],
      ownerTags: [
        "Tags that may name a user's owner, best first. Upper and lower case are the same.",
        standardOwnerTags.map(code).join(', '),
      ],
      adopt: [
        'Names of existing users that Custody takes for the account of the same name.',
        'none',
      ],
      'federation.createProviders': [
        "Make an issuer's OIDC provider in the AWS account when a role needs it. Else it must be there.",
        '`false`',
      ],
      'federation.allowPullRequests': [
        "Admit GitHub's subject `repo:…:pull_request`, as which everybody acts who opens one.",
        '`false`',
      ],
      'federation.probeTokenFiles': [
        'Files with a token of a consumer each, kept fresh by you. With them the end of a role is tried.',
        'none',
      ],
    },
  },
  github: {
    says: 'Deploy keys and installation tokens, by a GitHub App of yours. `people` says what ends at GitHub when a person leaves. It needs `logins` with at least one of its two settings. A person whose login cannot be told is left alone.',
    keys: {
      ...githubConnection,
      settle: ['How long listings of keys, grants and apps may lag behind a write.', '`PT5S`'],
      kinds: [
        'What is served here. Of what is named, `custody provider check` fails for a permission that is missing.',
        'all of them',
      ],
      'appToken.permissions': [
        'What a token may be handed out with, as `name=level`. `contents=write` allows `contents=read` too.',
        permissionsByDefault.map(code).join(', '),
      ],
      'patGrants.maxAge': [
        'Grants of personal tokens older than this are pointed out by discovery.',
        'no age',
      ],
      'people.logins.from': [
        'Where the login of a person is read from, unless `map` names them.',
        'from `map` alone',
      ],
      'people.logins.map': ['GitHub logins by `userName`.', 'none'],
      'people.removeMembership': [
        'Remove the membership, or withdraw the invitation. Never of the last owner.',
        '`false`',
      ],
      'people.removeOutsideCollaborator': ['Remove the outside collaborator.', '`false`'],
      'people.revokeGrants': ['End the grants of their personal tokens.', '`false`'],
    },
  },
  manual: {
    says: 'Tasks for a person, where there is no API ([tasks](tasks.md)).',
    keys: {
      assignee: [
        'Who is asked: `userName`, address or id of a person. Any other name, such as that of a team, is kept as it is.',
        "the account's owner, else a backup, else the manager",
      ],
      due: ['How long there is for a task. Above zero.', '`P3D`'],
      instructions: ['Where to go and what to click. Shown in every task.', 'none'],
    },
  },
  postgres: {
    says: 'Logins of a PostgreSQL server. At most one of `password` and `passwordFile`.',
    keys: {
      host: ['The server. Consumers are told the same. A path names the directory of a socket.'],
      port: ['Its port. Consumers are told the same.', '`5432`'],
      database: ['The database to connect to. Consumers are told the same.', '`postgres`'],
      user: ['The role Custody acts as. It has to create roles.'],
      password: ['Its password. Better in a file.', '`PGPASSWORD` or `~/.pgpass`, else none'],
      passwordFile: ['A file that holds its password. Read at start.', 'none'],
      tls: [
        '`verify-full` checks certificate and name.',
        '`verify-full`, for this machine and sockets `disable`',
      ],
      tlsCaFile: ["A file with the certificate of the server's authority.", "Node's authorities"],
      timeout: ['Of one statement, and of the wait for a lock.', '`PT10S`'],
      prefix: [
        'Of every role that is made here. Give each Custody of one server its own.',
        '`custody_`',
      ],
      allowedRoles: ['Roles that a scope `role:NAME` may grant.', 'none'],
      heir: ['The role that gets what is left when an account is deleted.', 'the value of `user`'],
      settle: ['How long listings may lag. Only needed where `host` is a standby.', '`PT0S`'],
    },
  },
  token: { says: 'Tokens of Custody itself, checked by introspection. No settings.', keys: {} },
}

export const sinks: Readonly<Record<string, Section>> = {
  'aws-secrets': {
    says: `Secrets in AWS Secrets Manager. ${aboutCredentials}`,
    keys: {
      region: ['The region of the secrets.'],
      ...awsConnection,
      namePrefix: [
        'What each name begins with. Tenant and path of the account follow.',
        '`custody/`',
      ],
      kmsKeyId: ['The KMS key of secrets that are made from now on.', '`aws/secretsmanager`'],
      recoveryDays: ['How long AWS keeps a secret that Custody deleted, in days.', '`7`'],
      format: secretFormat,
    },
  },
  file: {
    says: 'Files on this machine, mode 0600.',
    keys: {
      directory: [
        'Consumers read `DIRECTORY/TENANT/PATH`. The directory is made if it is missing.',
      ],
      format: secretFormat,
    },
  },
  'github-actions': {
    says: 'Secrets of repositories, environments and organisations.',
    keys: {
      provider: ['Name of a configured provider of type `github`, whose App writes the secrets.'],
      organizationVisibility: [
        'Which repositories see a secret of an organisation that is made from now on.',
        '`private`',
      ],
    },
  },
}

const inAllDirectories: Sayings = {
  cycle: [
    'How often the directory speaks over SCIM when all is well. Silent for two of these is an alarm. Above zero.',
  ],
  scope: [
    '`assigned`: only some people are sent to Custody, so who is unknown here is not listed.',
  ],
}

export const directories: Readonly<Record<string, Section>> = {
  okta: {
    says: 'An Okta organisation.',
    keys: {
      baseUrl: ['Its address. https, plain http only on this machine.'],
      tokenFile: ['A file with an API token or access token. Read anew for each check.'],
      auth: ['`bearer` for an OAuth access token with `okta.users.read`.'],
      ...inAllDirectories,
    },
  },
  entra: {
    says: 'A tenant of Microsoft Entra ID, read by an application with `User.Read.All`.',
    keys: {
      baseUrl: ['Microsoft Graph. National clouds have another.'],
      loginUrl: ['Where the application signs in. National clouds have another.'],
      tenantId: ['Id of the tenant.'],
      clientId: ['Id of the application.'],
      clientSecretFile: ['A file with its secret. Read anew for each check.'],
      leaveDates: [
        'Whether `employeeLeaveDateTime` is read, too. Needs `User-LifeCycleInfo.Read.All`.',
      ],
      ...inAllDirectories,
    },
  },
  csv: {
    says: 'A list that somebody exported ([columns](directories.md)).',
    keys: {
      file: ['The list. One bad line, and nothing is read.'],
      ...inAllDirectories,
    },
  },
}

/** Of each variable that is read somewhere in src or bin. A twin `…_FILE` goes with its variable. */
export const variables: Readonly<Record<string, string>> = {
  CUSTODY_CONFIG: 'The configuration file. `--config` wins over it.',
  CUSTODY_HOME:
    'Where `.custody` is, with the master key, the token of the local administrator, the SQLite database and what else belongs to this installation. Default: `./.custody`.',
  CUSTODY_STORE_URL: 'Wins over `store.url`.',
  CUSTODY_LISTEN:
    'Wins over `listen`, as `host:port`, for IPv6 `[::1]:8080`. `custody demo` listens there as well.',
  CUSTODY_PUBLIC_URL: 'Wins over `publicUrl`.',
  CUSTODY_LOG_LEVEL:
    'Wins over `logLevel`. With `debug` the command line shows where an unexpected error came from.',
  CUSTODY_MASTER_KEY:
    '32 random bytes in base64 or hex (`openssl rand -base64 32`). Default: `.custody/master.key`, made by the first start. Not a key of `custody.yaml`.',
  CUSTODY_SERVER:
    'The server that commands talk to. `--server` wins over it. Default: the one that runs with this `.custody`.',
  CUSTODY_TOKEN:
    "The bearer token of commands. `--token-file` wins over it. Default: the local administrator's, and only for a server on this machine.",
  CUSTODY_DEMO:
    '`1` has the console say that this is a demo, and show its tour. Set by `custody demo` itself.',
  NO_COLOR: 'When set to anything, tables have no colours.',
  NODE_COMPILE_CACHE:
    'Another place for the code that Node compiled. Default: `.custody/cache/code`, where nobody else may write to `.custody`.',
  NODE_DISABLE_COMPILE_CACHE: '`1` keeps no compiled code.',
  OTEL_EXPORTER_OTLP_ENDPOINT:
    'The collector of traces ([traces](../operations/README.md#traces)). Without it or the next one, none are collected.',
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'The same, for traces alone.',
  OTEL_SDK_DISABLED: '`true` collects none.',
  OTEL_TRACES_EXPORTER: '`none` collects none.',
  OTEL_SERVICE_NAME: 'The name of the service. Default: `custody`.',
  OTEL_RESOURCE_ATTRIBUTES: 'More about this process, as `key=value,key=value`.',
  OTEL_TRACES_SAMPLER:
    '`always_on`, `always_off` or `traceidratio`, each also with `parentbased_` in front. Default: `parentbased_always_on`.',
  OTEL_TRACES_SAMPLER_ARG: 'The share for `traceidratio`, from 0 to 1. Default: 1.',
  OTEL_BSP_SCHEDULE_DELAY: 'Milliseconds between two batches of spans.',
}
