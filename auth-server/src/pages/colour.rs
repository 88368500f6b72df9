//! Colours and their contrast (WCAG 2.2).
