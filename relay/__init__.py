"""Fairscore's relay: decides, signs, sends."""
