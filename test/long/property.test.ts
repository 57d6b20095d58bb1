import { propertySuite } from '../support/property-suite.ts'

propertySuite({ numRuns: 400, acts: 25, timeoutSeconds: 240 })
