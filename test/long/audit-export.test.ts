import { auditExportSuite } from '../support/audit-export-suite.ts'

// 10 400 mutations.
auditExportSuite(4)
