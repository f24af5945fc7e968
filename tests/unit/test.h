/* test.h - cmocka and the headers it needs first */
#ifndef OBV_TEST_H
#define OBV_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#endif
