import type { Clock } from '../../domain/time.ts'
import type { DirectoryFace } from './face.ts'
import { startGraphSandbox } from './graph.ts'
import { startOktaSandbox } from './okta.ts'
import { DirectoryWorld } from './world.ts'

/** The same people behind two faces. */
export interface DirectorySandboxes {
  readonly world: DirectoryWorld
  readonly okta: DirectoryFace
  readonly graph: DirectoryFace
  close(): Promise<void>
}

const people = ['ada@acme.example', 'ben@acme.example', 'cleo@acme.example', 'dan@acme.example']

/** With a few people in it: the last of them has left. */
export async function startDirectorySandboxes(clock: Clock): Promise<DirectorySandboxes> {
  const world = new DirectoryWorld(clock)
  const added = people.map((login) => world.add(login))
  world.deactivate(added.at(-1)!.id)
  const okta = await startOktaSandbox(world)
  const graph = await startGraphSandbox(world)
  return {
    world,
    okta,
    graph,
    async close() {
      await okta.close()
      await graph.close()
    },
  }
}
