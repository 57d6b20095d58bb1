import { invalidField, json, noContent, page, reach, refuse, type Routes } from './route.ts'

/** Deploy keys. */
export const keyRoutes: Routes = {
  'GET /repos/{owner}/{repo}/keys': {
    auth: 'installation',
    needs: 'administration=read',
    run: (context, token) => {
      const repository = reach(context, token!)
      const { items, headers } = page(context, [...repository.keys.values()])
      const bodies = items.map((key) => context.render.deployKey(repository, key))
      return json(200, bodies, headers)
    },
  },
  'POST /repos/{owner}/{repo}/keys': {
    auth: 'installation',
    needs: 'administration=write',
    run: (context, token) => {
      const repository = reach(context, token!)
      const {
        title = '',
        key,
        read_only = false,
      } = context.body as {
        title?: string
        key: string
        read_only?: boolean
      }
      const added = context.world.addDeployKey(
        repository,
        title,
        key,
        read_only,
        `${context.world.app.slug}[bot]`,
      )
      if (typeof added === 'string') invalidField('PublicKey', 'key', added)
      const body = context.render.deployKey(repository, added)
      return json(201, body, { location: String(body['url']) })
    },
  },
  'GET /repos/{owner}/{repo}/keys/{key_id}': {
    auth: 'installation',
    needs: 'administration=read',
    run: (context, token) => {
      const repository = reach(context, token!)
      const key = repository.keys.get(Number(context.params['key_id']))
      return json(200, context.render.deployKey(repository, key ?? refuse(404, 'Not Found')))
    },
  },
  'DELETE /repos/{owner}/{repo}/keys/{key_id}': {
    auth: 'installation',
    needs: 'administration=write',
    run: (context, token) => {
      const deleted = reach(context, token!).keys.delete(Number(context.params['key_id']))
      return deleted ? noContent : refuse(404, 'Not Found')
    },
  },
}
