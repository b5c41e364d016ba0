import { accessReport } from './accessReport.js';
import { actsReport } from './actsReport.js';
import { decisionsReport } from './decisionsReport.js';
import { dutiesReport } from './dutiesReport.js';
import { grantsReport } from './grantsReport.js';
import { policyReport } from './policyReport.js';
import { refusalsReport } from './refusalsReport.js';
import type { Report } from './report.js';
import { requestsReport } from './requestsReport.js';
import { usesReport } from './usesReport.js';

/** Every report that there is, in the order in which one reads them. */
export const REPORTS: readonly Report[] = [
  accessReport,
  requestsReport,
  decisionsReport,
  grantsReport,
  usesReport,
  refusalsReport,
  policyReport,
  dutiesReport,
  actsReport,
];
