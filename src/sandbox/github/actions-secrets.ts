import type { InstallationToken } from '../github-world.ts'
import { wholeSeconds } from '../github-bodies.ts'
import { json, noContent, page, reach, refuse, type Context, type Routes } from './route.ts'
import type { ActionsSecret, SecretVault } from './secret-vault.ts'

interface Place {
  /** Of GitHub's own description, up to and with `secrets`. */
  readonly path: string
  readonly permission: string
  readonly vaultOf: (context: Context, token: InstallationToken) => SecretVault
  /** What only an organisation's secret shows. */
  readonly more: (secret: ActionsSecret, context: Context) => object
}

const nothing = () => ({})

/** Repository, environment and organisation secrets: the same five requests at three places. */
const places: readonly Place[] = [
  {
    path: '/repos/{owner}/{repo}/actions/secrets',
    permission: 'secrets',
    vaultOf: (context, token) => reach(context, token).actions,
    more: nothing,
  },
  {
    path: '/repos/{owner}/{repo}/environments/{environment_name}/secrets',
    permission: 'environments',
    vaultOf: (context, token) => {
      const name = context.params['environment_name']!
      return reach(context, token).environments.get(name) ?? refuse(404, 'Not Found')
    },
    more: nothing,
  },
  {
    path: '/orgs/{org}/actions/secrets',
    permission: 'organization_secrets',
    vaultOf: ({ world, params }) => {
      const isOurs = params['org']!.toLowerCase() === world.organization.toLowerCase()
      return isOurs ? world.actions : refuse(404, 'Not Found')
    },
    more: ({ name, visibility }, { base, params }) => ({
      visibility,
      ...(visibility === 'selected'
        ? {
            selected_repositories_url: `${base}/orgs/${params['org']}/actions/secrets/${name}/repositories`,
          }
        : {}),
    }),
  },
]

export const secretRoutes: Routes = Object.assign({}, ...places.map(routesOf)) as Routes

function routesOf({ path, permission, vaultOf, more }: Place): Routes {
  const auth = 'installation'
  const shown = (secret: ActionsSecret, context: Context) => ({
    name: secret.name,
    created_at: wholeSeconds(secret.createdAt),
    updated_at: wholeSeconds(secret.updatedAt),
    ...more(secret, context),
  })
  return {
    [`GET ${path}`]: {
      auth,
      needs: `${permission}=read`,
      run: (context, token) => {
        const all = [...vaultOf(context, token!).secrets.values()]
        const { items, headers } = page(context, all)
        const secrets = items.map((secret) => shown(secret, context))
        return json(200, { total_count: all.length, secrets }, headers)
      },
    },
    [`GET ${path}/public-key`]: {
      auth,
      needs: `${permission}=read`,
      run: (context, token) => {
        const { id, publicKey } = vaultOf(context, token!).key
        return json(200, { key_id: id, key: publicKey })
      },
    },
    [`GET ${path}/{secret_name}`]: {
      auth,
      needs: `${permission}=read`,
      run: (context, token) => {
        const secret = vaultOf(context, token!).secrets.get(secretName(context))
        return json(200, shown(secret ?? refuse(404, 'Not Found'), context))
      },
    },
    [`PUT ${path}/{secret_name}`]: {
      auth,
      needs: `${permission}=write`,
      run: (context, token) => {
        const vault = vaultOf(context, token!)
        const name = secretName(context)
        const { encrypted_value, key_id, visibility } = context.body as Record<string, string>
        if (key_id !== vault.key.id) refuse(422, 'Public key ID is invalid')
        if (!/^[A-Z_][A-Z0-9_]*$/.test(name) || name.startsWith('GITHUB_')) {
          refuse(422, 'Secret names can only contain alphanumeric characters and underscores')
        }
        return vault.put(name, encrypted_value!, visibility) === 'created'
          ? json(201, {})
          : noContent
      },
    },
    [`DELETE ${path}/{secret_name}`]: {
      auth,
      needs: `${permission}=write`,
      run: (context, token) => {
        const deleted = vaultOf(context, token!).secrets.delete(secretName(context))
        return deleted ? noContent : refuse(404, 'Not Found')
      },
    },
  }
}

/** GitHub stores secret names in upper case. */
function secretName({ params }: Context): string {
  return params['secret_name']!.toUpperCase()
}
