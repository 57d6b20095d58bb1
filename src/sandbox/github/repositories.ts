import { json, page, reach, type Routes } from './route.ts'

/** Repositories as an installation sees them. */
export const repositoryRoutes: Routes = {
  'GET /installation/repositories': {
    auth: 'installation',
    needs: 'metadata=read',
    run: (context, token) => {
      const installation = context.world.installations.get(token!.installationId)!
      const all = context.world
        .repositoriesOf(installation)
        .filter((r) => token!.repositoryIds === null || token!.repositoryIds.has(r.id))
      const { items, headers } = page(context, all)
      const body = {
        total_count: all.length,
        repository_selection: installation.repositoryIds ? 'selected' : 'all',
        repositories: items.map(context.render.repository),
      }
      return json(200, body, headers)
    },
  },
  'GET /repos/{owner}/{repo}': {
    auth: 'installation',
    needs: 'metadata=read',
    run: (context, token) => json(200, context.render.fullRepository(reach(context, token!))),
  },
}
