import type { DeployKey, Installation, Repository } from './github-world.ts'
import type { Instant } from '../domain/time.ts'

/**
 * Renders the sandbox's state in GitHub's shapes. Every required attribute of the description is
 * there, because the sandbox checks its own answers against it.
 */
export interface Renderer {
  readonly repository: (repository: Repository) => Record<string, unknown>
  readonly fullRepository: (repository: Repository) => Record<string, unknown>
  readonly deployKey: (repository: Repository, key: DeployKey) => Record<string, unknown>
  readonly installation: (installation: Installation) => Record<string, unknown>
  readonly app: (app: AppFacts, installations: number) => Record<string, unknown>
  readonly user: (login: string) => Record<string, unknown>
  readonly organizationAccount: (login: string) => Record<string, unknown>
  /** As memberships name it, with fewer links. */
  readonly organization: (login: string) => Record<string, unknown>
}

export interface AppFacts {
  readonly id: number
  readonly slug: string
  readonly clientId: string
  readonly permissions: Readonly<Record<string, string>>
  readonly createdAt: Instant
}

/** GitHub's timestamps have whole seconds. */
export function wholeSeconds(at: Instant): string {
  return `${at.slice(0, 19)}Z`
}

const repositoryLinks: Readonly<Record<string, string>> = {
  archive_url: '/{archive_format}{/ref}',
  assignees_url: '/assignees{/user}',
  blobs_url: '/git/blobs{/sha}',
  branches_url: '/branches{/branch}',
  collaborators_url: '/collaborators{/collaborator}',
  comments_url: '/comments{/number}',
  commits_url: '/commits{/sha}',
  compare_url: '/compare/{base}...{head}',
  contents_url: '/contents/{+path}',
  contributors_url: '/contributors',
  deployments_url: '/deployments',
  downloads_url: '/downloads',
  events_url: '/events',
  forks_url: '/forks',
  git_commits_url: '/git/commits{/sha}',
  git_refs_url: '/git/refs{/sha}',
  git_tags_url: '/git/tags{/sha}',
  hooks_url: '/hooks',
  issue_comment_url: '/issues/comments{/number}',
  issue_events_url: '/issues/events{/number}',
  issues_url: '/issues{/number}',
  keys_url: '/keys{/key_id}',
  labels_url: '/labels{/name}',
  languages_url: '/languages',
  merges_url: '/merges',
  milestones_url: '/milestones{/number}',
  notifications_url: '/notifications{?since,all,participating}',
  pulls_url: '/pulls{/number}',
  releases_url: '/releases{/id}',
  stargazers_url: '/stargazers',
  statuses_url: '/statuses/{sha}',
  subscribers_url: '/subscribers',
  subscription_url: '/subscription',
  tags_url: '/tags',
  teams_url: '/teams',
  trees_url: '/git/trees{/sha}',
  url: '',
}

const accountLinks: Readonly<Record<string, string>> = {
  url: '',
  followers_url: '/followers',
  following_url: '/following{/other_user}',
  gists_url: '/gists{/gist_id}',
  starred_url: '/starred{/owner}{/repo}',
  subscriptions_url: '/subscriptions',
  organizations_url: '/orgs',
  repos_url: '/repos',
  events_url: '/events{/privacy}',
  received_events_url: '/received_events',
}

/** @param base the sandbox's own address, so that links can be followed */
export function createRenderer(base: () => string): Renderer {
  const nodeId = (type: string, id: number) => Buffer.from(`${type}${id}`).toString('base64')
  const links = (table: Readonly<Record<string, string>>, prefix: string) =>
    Object.fromEntries(Object.entries(table).map(([name, rest]) => [name, `${prefix}${rest}`]))

  const account = (login: string, type: 'User' | 'Organization' = 'Organization') => {
    // Stable without a table of accounts: one login, one number.
    const id = Buffer.from(login).reduce((n, byte) => (n * 31 + byte) % 90_000_000, 7)
    return {
      login,
      id,
      node_id: nodeId('User', id),
      avatar_url: `https://avatars.githubusercontent.com/u/${id}`,
      gravatar_id: '',
      html_url: `https://github.com/${login}`,
      ...links(accountLinks, `${base()}/users/${login}`),
      type,
      site_admin: false,
    }
  }

  const repository = (r: Repository) => {
    const web = `https://github.com/${r.owner}/${r.name}`
    return {
      id: r.id,
      node_id: nodeId('Repository', r.id),
      name: r.name,
      full_name: `${r.owner}/${r.name}`,
      private: r.private,
      owner: account(r.owner),
      html_url: web,
      description: null,
      fork: false,
      ...links(repositoryLinks, `${base()}/repos/${r.owner}/${r.name}`),
      clone_url: `${web}.git`,
      git_url: `git://github.com/${r.owner}/${r.name}.git`,
      ssh_url: `git@github.com:${r.owner}/${r.name}.git`,
      svn_url: web,
      mirror_url: null,
      homepage: null,
      language: null,
      license: null,
      default_branch: 'main',
      archived: r.archived,
      disabled: false,
      forks: 0,
      forks_count: 0,
      open_issues: 0,
      open_issues_count: 0,
      stargazers_count: 0,
      watchers: 0,
      watchers_count: 0,
      size: 0,
      has_downloads: true,
      has_issues: true,
      has_projects: true,
      has_wiki: true,
      has_pages: false,
      created_at: wholeSeconds(r.createdAt),
      updated_at: wholeSeconds(r.createdAt),
      pushed_at: wholeSeconds(r.createdAt),
    }
  }

  return {
    repository,
    fullRepository: (r) => ({
      ...repository(r),
      has_discussions: false,
      network_count: 0,
      subscribers_count: 0,
    }),
    deployKey: (r, key) => ({
      id: key.id,
      key: key.key,
      url: `${base()}/repos/${r.owner}/${r.name}/keys/${key.id}`,
      title: key.title,
      verified: true,
      created_at: wholeSeconds(key.createdAt),
      read_only: key.readOnly,
      added_by: key.addedBy,
      last_used: key.lastUsedAt && wholeSeconds(key.lastUsedAt),
      enabled: r.deployKeysEnabled,
    }),
    installation: (i) => ({
      id: i.id,
      account: account(i.account),
      repository_selection: i.repositoryIds === null ? 'all' : 'selected',
      access_tokens_url: `${base()}/app/installations/${i.id}/access_tokens`,
      repositories_url: `${base()}/installation/repositories`,
      html_url: `https://github.com/organizations/${i.account}/settings/installations/${i.id}`,
      app_id: i.appId,
      app_slug: i.appSlug,
      target_id: account(i.account).id,
      target_type: 'Organization',
      permissions: i.permissions,
      events: [],
      created_at: wholeSeconds(i.createdAt),
      updated_at: wholeSeconds(i.createdAt),
      single_file_name: null,
      suspended_by: i.suspendedAt && account(i.account),
      suspended_at: i.suspendedAt && wholeSeconds(i.suspendedAt),
    }),
    app: (app, installations) => ({
      id: app.id,
      slug: app.slug,
      client_id: app.clientId,
      node_id: nodeId('App', app.id),
      owner: account('acme'),
      name: app.slug,
      description: null,
      external_url: 'https://custody.example',
      html_url: `https://github.com/apps/${app.slug}`,
      created_at: wholeSeconds(app.createdAt),
      updated_at: wholeSeconds(app.createdAt),
      permissions: app.permissions,
      events: [],
      installations_count: installations,
    }),
    user: (login) => account(login, 'User'),
    organizationAccount: (login) => account(login),
    organization: (login) => {
      const { id, node_id, avatar_url } = account(login)
      const url = `${base()}/orgs/${login}`
      return {
        login,
        id,
        node_id,
        url,
        repos_url: `${url}/repos`,
        events_url: `${url}/events`,
        hooks_url: `${url}/hooks`,
        issues_url: `${url}/issues`,
        members_url: `${url}/members{/member}`,
        public_members_url: `${url}/public_members{/member}`,
        avatar_url,
        description: null,
      }
    },
  }
}
