// SPDX-License-Identifier: GPL-2.0

/*
 * UBSAN looks at C alone, so this fault is in C. The shift goes too far, by an amount that the
 * compiler does not know.
 */

unsigned int callgate_faults_undefined(unsigned int by);

unsigned int callgate_faults_undefined(unsigned int by)
{
	return 1U << by;
}
