import { auditExportSuite } from '../support/audit-export-suite.ts'

auditExportSuite(1)
