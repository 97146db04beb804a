package main

// declared are the deviations that we mean, with their reason. One that is not met
// any more counts as unexplained, so that this list cannot outlive its causes.
var declared = []difference{}
