-- Rows whose key is among groups that change.
CREATE TABLE semi_of_groups (id BIGINT, itemName VARCHAR) WITH (${sink});

INSERT INTO semi_of_groups
SELECT id, itemName FROM auction
WHERE id IN (SELECT auction FROM bid GROUP BY auction HAVING count(*) > 10);
