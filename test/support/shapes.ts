import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Json, Reply, TestCustody } from './custody.ts'
import { startTestCustody } from './custody.ts'
import { groupUrn } from './scim.ts'

/** What stands before the request under test, made anew for each. */
export interface Setting {
  readonly id: string
  readonly userName: string
  /** A person who is there for all, with a work e-mail. */
  readonly boss: string
  /** A group of the person and the boss. */
  readonly group: string
  readonly groupName: string
}

/** One request as an identity provider sends it, and what becomes of it. */
export interface Shape {
  readonly name: string
  readonly method: string
  /** Below the SCIM base; `:id` stands for the person, `:group` for the group of the setting. */
  readonly path: string | ((setting: Setting) => string)
  readonly headers?: Record<string, string>
  readonly body?: (setting: Setting) => Json
  readonly status: number
  /** What the answer then says. */
  readonly says?: (setting: Setting) => Json
  /** Members that must not be there. */
  readonly lacks?: readonly string[]
  readonly total?: number
  /** The members of the group afterwards. */
  readonly members?: (setting: Setting) => readonly string[]
}

/** Plays the shapes of one file against one server, each on a person and a group of its own. */
export function playShapes(
  providers: readonly {
    readonly name: string
    readonly shapes: readonly Shape[]
    readonly headers?: Record<string, string>
  }[],
  more: (custody: () => TestCustody) => void = () => {},
): void {
  let custody: TestCustody
  let boss: string
  let count = 0
  beforeAll(async () => {
    custody = await startTestCustody({ roles: ['http'] })
    boss = await custody.createPerson('boss@x.test', {
      emails: [{ type: 'work', value: 'boss@x.test' }],
    })
  })
  afterAll(() => custody.close())

  const setting = async (): Promise<Setting> => {
    count += 1
    const userName = `person-${count}@x.test`
    const groupName = `ops ${count}`
    const id = await custody.createPerson(userName)
    const made = await custody.call('POST', '/scim/v2/Groups', {
      schemas: [groupUrn],
      displayName: groupName,
      members: [{ value: id }, { value: boss }],
    })
    return { id, userName, boss, group: made.body.id, groupName }
  }

  const play = async (shape: Shape, headers: Record<string, string>): Promise<Reply> => {
    const present = await setting()
    const path = typeof shape.path === 'string' ? shape.path : shape.path(present)
    const reply: Reply = await custody.call(
      shape.method,
      `/scim/v2${path.replace(':id', present.id).replace(':group', present.group)}`,
      shape.body?.(present),
      { headers: { ...headers, ...shape.headers } },
    )

    if (shape.method === 'DELETE') {
      const again = path.replace(':id', present.id).replace(':group', present.group)
      expect((await custody.call('GET', `/scim/v2${again}`)).status).toBe(404)
    }
    if (reply.text !== '') {
      expect(reply.headers.get('content-type')).toContain('application/scim+json')
    }
    if (shape.total !== undefined) {
      expect(reply.body).toMatchObject({ totalResults: shape.total, startIndex: 1 })
      expect(reply.body.Resources).toHaveLength(shape.total)
    }
    if (shape.says) expect(reply.body).toMatchObject(shape.says(present))
    for (const name of shape.lacks ?? []) expect(reply.body).not.toHaveProperty([name])
    if (shape.members) {
      const { body } = await custody.call('GET', `/scim/v2/Groups/${present.group}`)
      const members = (body.members ?? []).map((member: Json) => member.value)
      expect(members.toSorted()).toEqual(shape.members(present).toSorted())
    }
    return reply
  }

  for (const { name, shapes, headers } of providers) {
    // oxlint-disable-next-line vitest/valid-title -- the name of the identity provider
    describe(name, () => {
      it.each(shapes)('$name', async (shape) => {
        expect((await play(shape, headers ?? {})).status).toBe(shape.status)
      })
    })
  }
  more(() => custody)
}
