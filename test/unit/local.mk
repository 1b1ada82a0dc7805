# One program per module; the driver suite runs against every store driver.
check_PROGRAMS += $(unit_tests)
TESTS += $(unit_tests)
unit_tests =
unit_tests += test/unit/test_arena test/unit/test_buf test/unit/test_clock test/unit/test_err
unit_tests += test/unit/test_file test/unit/test_lock test/unit/test_log test/unit/test_map
unit_tests += test/unit/test_path test/unit/test_str test/unit/test_sys
