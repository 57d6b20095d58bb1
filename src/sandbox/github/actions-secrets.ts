import { wholeSeconds } from '../github-bodies.ts'
import { json, noContent, reach, refuse, type Context, type Routes } from './route.ts'

/** Actions secrets. */
export const secretRoutes: Routes = {
  'GET /repos/{owner}/{repo}/actions/secrets/public-key': {
    auth: 'installation',
    needs: 'secrets=read',
    run: (context, token) => {
      const { id, publicKey } = reach(context, token!).secretsKey
      return json(200, { key_id: id, key: publicKey })
    },
  },
  'GET /repos/{owner}/{repo}/actions/secrets/{secret_name}': {
    auth: 'installation',
    needs: 'secrets=read',
    run: (context, token) => {
      const { secrets } = reach(context, token!)
      const secret = secrets.get(secretName(context)) ?? refuse(404, 'Not Found')
      return json(200, {
        name: secret.name,
        created_at: wholeSeconds(secret.createdAt),
        updated_at: wholeSeconds(secret.updatedAt),
      })
    },
  },
  'PUT /repos/{owner}/{repo}/actions/secrets/{secret_name}': {
    auth: 'installation',
    needs: 'secrets=write',
    run: (context, token) => {
      const repository = reach(context, token!)
      const { encrypted_value, key_id } = context.body as {
        encrypted_value: string
        key_id: string
      }
      if (key_id !== repository.secretsKey.id) refuse(422, 'Public key ID is invalid')
      const name = secretName(context)
      const before = repository.secrets.get(name)
      const now = context.world.clock.now()
      repository.secrets.set(name, {
        name,
        encryptedValue: encrypted_value,
        createdAt: before?.createdAt ?? now,
        updatedAt: now,
      })
      return before ? noContent : json(201, {})
    },
  },
  'DELETE /repos/{owner}/{repo}/actions/secrets/{secret_name}': {
    auth: 'installation',
    needs: 'secrets=write',
    run: (context, token) => {
      const deleted = reach(context, token!).secrets.delete(secretName(context))
      return deleted ? noContent : refuse(404, 'Not Found')
    },
  },
}

/** GitHub stores secret names in upper case. */
function secretName({ params }: Context): string {
  return params['secret_name']!.toUpperCase()
}
