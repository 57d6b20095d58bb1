import { crashSuite } from '../support/crash-suite.ts'

// An odd stride meets "before" and "after" alike; `npm run test:long` tries every place.
crashSuite(17)
