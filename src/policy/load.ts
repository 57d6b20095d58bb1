import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { errors } from '../domain/errors.ts'
import type { Authoriser } from './authorise.ts'
import { compileAuthorisation } from './authorise.ts'
import type { LifecyclePolicy } from './lifecycle.ts'
import { compileLifecycle } from './lifecycle.ts'
import type { Template, TemplateChecks } from './templates.ts'
import { loadTemplates } from './templates.ts'

/** All that a policy directory says; replaced as a whole on reload. */
export interface Policies {
  lifecycle: LifecyclePolicy
  templates: readonly Template[]
  authoriser: Authoriser
}

/**
 * @param providers the connected ones; templates of others are not offered
 * @throws policyInvalid
 */
export async function loadPolicies(
  directory: string,
  providers: NonNullable<TemplateChecks['providers']> = new Map(),
): Promise<Policies> {
  const name = path.join(directory, 'lifecycle.yaml')
  const text = await readFile(name, 'utf8').catch((cause: unknown) => {
    throw errors.policyInvalid({ problems: `${name}: cannot be read.` }, { cause })
  })
  const lifecycle = compileLifecycle(text, name)
  return {
    lifecycle,
    templates: await offeredTemplates(directory, { lifecycle }, providers),
    authoriser: await compileAuthorisation(path.join(directory, 'authorisation')),
  }
}

/**
 * What can be asked for by name, of providers that were opened after the policies were read.
 * @throws policyInvalid
 */
export async function offeredTemplates(
  directory: string,
  { lifecycle }: Pick<Policies, 'lifecycle'>,
  providers: NonNullable<TemplateChecks['providers']>,
): Promise<readonly Template[]> {
  const templates = await loadTemplates(path.join(directory, 'templates'), {
    policy: lifecycle,
    providers,
  })
  return templates.filter((template) => providers.has(template.provider))
}
