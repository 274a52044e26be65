import common

common.tune(common.REQUIRED)
